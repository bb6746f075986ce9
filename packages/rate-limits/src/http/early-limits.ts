/**
 * What a rule does besides its decision: it refuses what is known to be over a limit, and counts by address
 * requests that end before their decision, for instance because their token is invalid.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Slot, Verdict } from '../limits/policy.ts'
import type { LimitStore } from '../limits/store.ts'
import type { EarlyTier } from '../tiers/early-tiers.ts'
import { countsResponse } from '../tiers/slots.ts'
import { onResponseEnd } from './responses.ts'
import type { Watch } from './watch.ts'

/** A tier of a rule with the slot of a request. */
export interface EarlySlot extends EarlyTier {
  readonly slot: Slot
}

/** What {@link EarlyLimits} needs. */
export interface EarlySettings {
  readonly store: LimitStore
  readonly watch: Watch
}

export class EarlyLimits {
  readonly #settings: EarlySettings

  constructor(settings: EarlySettings) {
    this.#settings = settings
  }

  /** The refusals that are known, with their slots; `undefined`: none. */
  refusalOf(early: readonly EarlySlot[]): { slots: readonly Slot[]; verdict: Verdict } | undefined {
    return knownRefusals(
      this.#settings.store,
      early.flatMap(({ slot, refuses }) => (refuses === 'never' ? [] : [[slot, refuses] as const])),
    )
  }

  /**
   * Counts a request when its response ends.
   *
   * @param end.decided whether the decision has admitted it; `undefined`: it ended before.
   */
  countAtEnd(
    early: readonly EarlySlot[],
    request: FastifyRequest,
    reply: FastifyReply,
    { decided, lease }: { readonly decided: () => boolean | undefined; readonly lease: string },
  ): void {
    onResponseEnd(reply, () => {
      const isAdmitted = decided()
      // What the decision has refused is counted there.
      if (isAdmitted === false) return
      // Each by itself: a tier that refuses must not keep the others from counting.
      for (const { tier, slot, countsAdmitted } of early) {
        if (isAdmitted && !countsAdmitted) continue
        if (countsResponse(tier, reply, request)) void this.#count(slot, lease, request)
      }
    })
  }

  async #count(slot: Slot, lease: string, request: FastifyRequest): Promise<void> {
    const { store, watch } = this.#settings
    const verdict = await store.decide([slot], lease)
    watch.decided([slot], verdict, request)
    if (slot.policy.maxInFlight > 0) await store.release([slot], lease)
  }
}

/** Refusals that are answered without a decision. A dry run and an exemption need the whole decision. */
export function knownRefusals(
  store: LimitStore,
  asked: readonly (readonly [slot: Slot, also: 'block' | 'limit'])[],
): { slots: readonly Slot[]; verdict: Verdict } | undefined {
  const known = asked.flatMap(([slot, also]) => {
    if (!slot.policy.isEnforced || slot.proof !== undefined) return []
    const reading = store.knownRefusal(slot, also)
    return reading === undefined ? [] : [{ slot, reading }]
  })
  if (known.length === 0) return undefined
  const readings = known.map(({ reading }) => reading)
  return {
    slots: known.map(({ slot }) => slot),
    verdict: { allowed: false, atUs: 0, readings, isLocal: false },
  }
}
