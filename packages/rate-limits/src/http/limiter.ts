/** Decides requests: at the moment when the keys of their rule are known, once, for all tiers together. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Slot, SlotReading, Verdict } from '../limits/policy.ts'
import type { KnownBlock, LimitStore } from '../limits/store.ts'
import type { CompiledRule } from '../tiers/rule.ts'
import { countsResponse, slotOf, type Subject } from '../tiers/slots.ts'
import type { Tier } from '../tiers/tier.ts'
import { setLimitHeaders, retryAfterOf, type HeaderChoice } from './limit-headers.ts'
import { RequestValues, type ValueSources } from './request-values.ts'
import { onResponseEnd, sendRefusal, type ResponseChoice } from './responses.ts'
import type { Check, Shell } from './shell.ts'
import type { Watch } from './watch.ts'

/** Where the limiter keeps its check on a request. */
export const kCheck = Symbol('@parapet/rate-limits:check')

/** What the limiter needs. */
export interface LimiterSettings {
  readonly store: LimitStore
  readonly sources: ValueSources
  readonly plan: ((request: FastifyRequest) => string | undefined) | undefined
  readonly headers: HeaderChoice
  readonly response: ResponseChoice
  readonly watch: Watch
  /** Begins the id of each running request; unique among the instances. */
  readonly instance: string
}

/** The check of a request, and what it was decided on. */
export interface RequestCheck extends Check {
  readonly rule: CompiledRule
  readonly slots: readonly Slot[]
  readonly lease: string
}

type Checked = FastifyRequest & { [kCheck]: RequestCheck | null }

/** How long a success proves an identity. */
const PROOF_MS = 2_592_000_000

export class Limiter {
  readonly #settings: LimiterSettings
  readonly #shell: Shell
  #leases = 0

  constructor(settings: LimiterSettings, shell: Shell) {
    this.#settings = settings
    this.#shell = shell
  }

  /** Decides a request, and calls `next` if it is admitted. */
  judge(rule: CompiledRule, request: FastifyRequest, reply: FastifyReply, next: Next): void {
    const slots = this.slotsOf(rule.tiers, request)
    const { store } = this.#settings
    const lease = rule.limitsRunning ? `${this.#settings.instance}-${this.#leases++}` : ''
    const decide = (): Verdict | Promise<Verdict> => store.decide(slots, lease)
    const check: RequestCheck = { rule, slots, lease, verdict: undefined, decide }
    ;(request as Checked)[kCheck] = check
    if (this.#refuseBlocked(slots, request, reply)) return
    this.#shell(request, reply).then(
      () => this.#admit(check, request, reply, next),
      (thrown: unknown) => {
        // oxlint-disable-next-line promise/no-callback-in-promise -- it continues Fastify's own hooks
        if (thrown !== check) next(thrown as Error)
        else this.#refuse(check.slots, check.verdict!, request, reply)
      },
    )
  }

  /**
   * Refuses blocked keys of a rule that is decided later, and counts the keys that are known if the request
   * ends before that, for instance because its token is invalid.
   */
  judgeEarly(rule: CompiledRule, request: FastifyRequest, reply: FastifyReply, next: Next): void {
    const slots = this.slotsOf(rule.early, request)
    if (this.#refuseBlocked(slots, request, reply)) return
    onResponseEnd(reply, () => {
      if ((request as Checked)[kCheck] === null) void this.#countEnded(slots, request)
    })
    next()
  }

  slotsOf(tiers: readonly Tier[], request: FastifyRequest): Slot[] {
    const { sources, plan } = this.#settings
    const values = new RequestValues(request, sources)
    const subject: Subject = { values, plan: readPlan(plan, request), request }
    return tiers.map((tier) => slotOf(tier, subject, readCost))
  }

  async #countEnded(slots: readonly Slot[], request: FastifyRequest): Promise<void> {
    const { store, watch, instance } = this.#settings
    const lease = `${instance}-${this.#leases++}`
    const verdict = await store.decide(slots, lease)
    watch.decided(slots, verdict, request)
    if (slots.some(({ policy }) => policy.maxInFlight > 0)) await store.release(slots, lease)
  }

  #refuseBlocked(slots: readonly Slot[], request: FastifyRequest, reply: FastifyReply): boolean {
    for (const slot of slots) {
      // A dry run and an exemption need the whole decision.
      if (!slot.policy.isEnforced || slot.proof !== undefined) continue
      const block = this.#settings.store.knownBlock(slot)
      if (block === undefined) continue
      const verdict = blockedVerdict(slot, block)
      this.#refuse([slot], verdict, request, reply)
      return true
    }
    return false
  }

  #admit(check: RequestCheck, request: FastifyRequest, reply: FastifyReply, next: Next): void {
    const { slots, rule, verdict } = check
    this.#settings.watch.decided(slots, verdict!, request)
    setLimitHeaders(reply, slots, verdict!, this.#settings.headers, undefined)
    if (rule.hasEnd) {
      onResponseEnd(reply, (wasSent) => void this.#end(check, request, reply, wasSent))
    }
    next()
  }

  #refuse(
    slots: readonly Slot[],
    verdict: Verdict,
    request: FastifyRequest,
    reply: FastifyReply,
  ): void {
    const retryAfter = retryAfterOf(slots, verdict.readings)
    this.#settings.watch.decided(slots, verdict, request)
    setLimitHeaders(reply, slots, verdict, this.#settings.headers, retryAfter)
    sendRefusal(reply, this.#settings.response, retryAfter)
  }

  /** Ends running requests, and gives back what need not count. */
  async #end(
    check: RequestCheck,
    request: FastifyRequest,
    reply: FastifyReply,
    wasSent: boolean,
  ): Promise<void> {
    const { store } = this.#settings
    const { slots, rule, lease, verdict } = check
    if (rule.limitsRunning) await store.release(slots, lease)
    // A response that the client did not wait for proves nothing.
    if (!wasSent) return
    const free = slots.filter(
      (_slot, index) =>
        verdict!.readings[index]!.outcome === 'fits' &&
        !countsResponse(rule.tiers[index]!, reply, request),
    )
    if (free.length === 0) return
    await store.refund(free, verdict!)
    if (!rule.proves || reply.statusCode >= 300) return
    await store.prove(
      free.flatMap(({ proof }) => proof ?? []),
      PROOF_MS,
    )
  }
}

/** Continues the request, or fails it. */
export type Next = (error?: Error) => void

function readPlan(plan: LimiterSettings['plan'], request: FastifyRequest): string | undefined {
  try {
    return plan?.(request)
  } catch {
    return undefined
  }
}

/** A cost that cannot be read is the highest: the store takes no more than the limit. */
function readCost<R>(cost: (request: R) => number, request: R): number {
  try {
    const units = Math.ceil(cost(request))
    return units >= 0 ? units : Number.MAX_SAFE_INTEGER
  } catch {
    return Number.MAX_SAFE_INTEGER
  }
}

function blockedVerdict({ policy }: Slot, { blockedUs, refusals }: KnownBlock): Verdict {
  const bounds = policy.bounds.map(({ limit, windowUs }) => ({
    limit,
    windowUs,
    remaining: 0,
    resetUs: blockedUs,
    retryUs: blockedUs,
  }))
  const reading: SlotReading = { outcome: 'blocked', blockedUs, refusals, bounds }
  return { allowed: false, atUs: 0, readings: [reading], isLocal: false }
}
