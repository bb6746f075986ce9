/** What follows from decisions besides the response: counters, events, and containment of addresses. */
import type { SecurityEvents } from '@parapet/kit'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { admits, type Slot, type SlotReading, type Verdict } from '../limits/policy.ts'
import type { ContainmentRequest } from '../options.ts'
import { isThenable } from '../tiers/callbacks.ts'
import { abuseStep, type AbuseLimits } from '../watch/abuse.ts'
import { ProxyWatch, proxyAdvice } from '../watch/proxy-watch.ts'
import type { Tally } from '../watch/tally.ts'
import { retryOf } from './limit-headers.ts'
import { addressOf } from './request-values.ts'

/** What {@link Watch} needs. */
export interface WatchSettings {
  readonly events: SecurityEvents
  readonly log: FastifyBaseLogger
  readonly tally: Tally
  readonly abuse: AbuseLimits
  readonly contain: ((request: ContainmentRequest) => unknown) | undefined
  readonly now: () => number
}

export class Watch {
  readonly #settings: WatchSettings
  readonly #proxies = new ProxyWatch()

  constructor(settings: WatchSettings) {
    this.#settings = settings
  }

  /** Looks at the addresses of a request. */
  arrived(request: FastifyRequest): void {
    const forwarded = request.headers['x-forwarded-for']
    if (forwarded === undefined) return
    const address = addressOf(request)
    // Behind a trusted proxy, the address is not that of the connection.
    const peer = request.socket.remoteAddress
    if (peer !== undefined && peer !== address) return
    const suspicion = this.#proxies.observe(address, String(forwarded))
    if (suspicion === undefined) return
    const { events, log } = this.#settings
    log.error(suspicion, proxyAdvice(suspicion))
    events.emit('rate_limits.proxy_suspected', { details: { ...suspicion } }, request)
  }

  /** Notes a decision. */
  decided(slots: readonly Slot[], verdict: Verdict, request: FastifyRequest): void {
    const { tally, now } = this.#settings
    for (let index = 0; index < slots.length; index++) {
      const slot = slots[index]!
      const { tier, isEnforced } = slot.policy
      const reading = verdict.readings[index]!
      if (verdict.isLocal) tally.count(tier, 'degraded')
      if (admits(reading)) {
        if (verdict.allowed) tally.count(tier, 'allowed')
        continue
      }
      if (isEnforced) tally.count(tier, 'refused')
      else tally.report(tier, slot.id, now())
      if (reading.outcome === 'blocked') tally.count(tier, 'blocked')
      this.#report(slot, reading, request)
    }
  }

  #report(slot: Slot, reading: SlotReading, request: FastifyRequest): void {
    const { policy, id } = slot
    const { tier, isEnforced } = policy
    const limit = reading.bounds.reduce(
      (least, bound) => Math.min(least, bound.limit),
      Number.MAX_SAFE_INTEGER,
    )
    const { abuse, events } = this.#settings
    const step = abuseStep(reading.refusals, limit, abuse)
    if (step === undefined) return
    const key = kindOf(id)
    if (step === 'exceeded') {
      const retryAfterSeconds = Math.ceil(retryOf(reading) / 1_000_000)
      const details = { tier, key, limit, retryAfterSeconds, dryRun: !isEnforced }
      events.emit('rate_limits.exceeded', { details }, request)
      return
    }
    const contain = step === 'contain' && isEnforced
    const attempts = reading.refusals
    const details = { tier, key, limit, attempts, contain }
    const severity = contain ? { severity: 'high' as const } : undefined
    events.emit('rate_limits.abused', { details, ...severity }, request)
    if (contain) this.#contain({ ip: addressOf(request), tier, attempts })
  }

  #contain(request: ContainmentRequest): void {
    const { contain, log } = this.#settings
    if (contain === undefined) return
    const failed = (error: unknown): void =>
      log.error({ err: error }, 'rate-limits: "contain" failed')
    try {
      const result = contain(request)
      if (isThenable(result)) Promise.resolve(result).catch(failed)
    } catch (error) {
      failed(error)
    }
  }
}

/** The names of the components of a key: `auth:x account=…&ip=…` → `account+ip`. */
function kindOf(id: string): string {
  return [...id.matchAll(/(?:^[^ ]* |[&?])([\w:-]+)=/g)].map(([, name]) => name).join('+')
}
