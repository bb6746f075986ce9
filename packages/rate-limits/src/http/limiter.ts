/** Decides requests: at the moment when the keys of their rule are known, once, for all tiers together. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Slot, Verdict } from '../limits/policy.ts'
import { boundedCost } from '../limits/state.ts'
import type { LimitStore } from '../limits/store.ts'
import type { CompiledRule } from '../tiers/rule.ts'
import { countsResponse, slotOf, type Subject } from '../tiers/slots.ts'
import type { Tier } from '../tiers/tier.ts'
import { EarlyLimits, knownRefusals } from './early-limits.ts'
import { setLimitHeaders, retryAfterOf, type HeaderChoice } from './limit-headers.ts'
import { attempt } from '../tiers/callbacks.ts'
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
  /** Of each slot: a login that names several accounts has a slot for each in the same tier. */
  readonly tiers: readonly Tier[]
  readonly slots: readonly Slot[]
  readonly lease: string
}

type Checked = FastifyRequest & { [kCheck]: RequestCheck | null }

/** How long a success proves an identity. */
const PROOF_MS = 2_592_000_000

export class Limiter {
  readonly #settings: LimiterSettings
  readonly #shell: Shell
  readonly #early: EarlyLimits
  #leases = 0

  constructor(settings: LimiterSettings, shell: Shell) {
    this.#settings = settings
    this.#shell = shell
    this.#early = new EarlyLimits(settings)
  }

  /** Decides a request, and calls `next` if it is admitted. */
  judge(rule: CompiledRule, request: FastifyRequest, reply: FastifyReply, next: Next): void {
    const { tiers, slots } = this.#slotsOfAll(rule.tiers, request)
    const { store } = this.#settings
    const lease = rule.limitsRunning ? `${this.#settings.instance}-${this.#leases++}` : ''
    const decide = (): Verdict | Promise<Verdict> => store.decide(slots, lease)
    const check: RequestCheck = { rule, tiers, slots, lease, verdict: undefined, decide }
    ;(request as Checked)[kCheck] = check
    const known = knownRefusals(
      store,
      slots.map((slot) => [slot, 'block']),
    )
    if (known !== undefined) return this.#refuse(known.slots, known.verdict, request, reply)
    this.#shell(request, reply).then(
      () => this.#admit(check, request, reply, next),
      (thrown: unknown) => {
        // oxlint-disable-next-line promise/no-callback-in-promise -- it continues Fastify's own hooks
        if (thrown !== check) next(thrown as Error)
        else this.#refuse(check.slots, check.verdict!, request, reply)
      },
    )
  }

  /** Refuses what is known before the decision, and counts what ends before it or must count besides it. */
  judgeEarly(rule: CompiledRule, request: FastifyRequest, reply: FastifyReply, next: Next): void {
    const tiers = rule.early.map(({ tier }) => tier)
    const slots = this.slotsOf(tiers, request)
    const early = rule.early.map((each, index) => ({ ...each, slot: slots[index]! }))
    const known = this.#early.refusalOf(early)
    if (known !== undefined) return this.#refuse(known.slots, known.verdict, request, reply)
    const decided = (): boolean | undefined => {
      const { [kCheck]: check } = request as Checked
      return check === null ? undefined : check.verdict?.allowed === true
    }
    const lease = `${this.#settings.instance}-${this.#leases++}`
    this.#early.countAtEnd(early, request, reply, { decided, lease })
    if (rule.moment === 'peer') this.judge(rule, request, reply, next)
    else next()
  }

  /** One slot for each tier. */
  slotsOf(tiers: readonly Tier[], request: FastifyRequest): Slot[] {
    const subject = this.#subjectOf(request)
    return tiers.map((tier) => slotOf(tier, subject, readCost))
  }

  #slotsOfAll(
    tiers: readonly Tier[],
    request: FastifyRequest,
  ): Pick<RequestCheck, 'tiers' | 'slots'> {
    const subject = this.#subjectOf(request)
    const isByAccount = tiers.some(countsByAccount)
    if (!isByAccount || subject.values.accounts.length < 2) {
      return { tiers, slots: tiers.map((tier) => slotOf(tier, subject, readCost)) }
    }
    const subjects = subject.values.accounts.map((account) => this.#subjectOf(request, account))
    const pairs = tiers.flatMap((tier) =>
      (countsByAccount(tier) ? subjects : [subject]).map((each) => ({
        tier,
        slot: slotOf(tier, each, readCost),
      })),
    )
    return { tiers: pairs.map(({ tier }) => tier), slots: pairs.map(({ slot }) => slot) }
  }

  #subjectOf(
    request: FastifyRequest,
    account?: string,
  ): Subject & { readonly values: RequestValues } {
    const { sources, plan } = this.#settings
    const accounts = account === undefined ? undefined : [account]
    const values = new RequestValues(request, sources, accounts)
    return { values, plan: readPlan(plan, request), request }
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
    const free = slots.flatMap((slot, index) => {
      const { outcome, bounds } = verdict!.readings[index]!
      if (outcome !== 'fits' && outcome !== 'proven') return []
      if (countsResponse(check.tiers[index]!, reply, request)) return []
      // What was consumed is bounded by the limits of then: those of a share, or tightened ones.
      return [{ ...slot, cost: outcome === 'proven' ? 0 : boundedCost(slot.cost, bounds) }]
    })
    const consumed = free.filter(({ cost }) => cost > 0)
    if (consumed.length > 0) await store.refund(consumed, verdict!)
    if (!rule.proves || reply.statusCode >= 300) return
    // Each success proves anew, so that who logs in regularly stays exempt.
    const proofs = free.flatMap(({ proof }) => proof ?? [])
    if (proofs.length > 0) await store.prove(proofs, PROOF_MS)
  }
}

function countsByAccount({ key }: Tier): boolean {
  return key.names.includes('account')
}

/** Continues the request, or fails it. */
export type Next = (error?: Error) => void

function readPlan(plan: LimiterSettings['plan'], request: FastifyRequest): string | undefined {
  const name = attempt(() => plan?.(request))
  return typeof name === 'string' ? name : undefined
}

/** A cost that cannot be read is the highest: the store takes no more than the limit. */
function readCost<R>(cost: (request: R) => number, request: R): number {
  const units = Math.ceil(attempt(() => cost(request)) ?? Number.NaN)
  return units >= 0 ? units : Number.MAX_SAFE_INTEGER
}
