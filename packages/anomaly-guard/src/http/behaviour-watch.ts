/** Feeds the behaviour score with outcomes, and lets it learn between requests. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { BehaviourAnomaly, BehaviourScorer, RecommendedAction } from '../behaviour/types.ts'
import type { Response } from '../rules/rule.ts'
import type { Signal } from '../rules/signal.ts'
import type { Guard } from '../service/guard.ts'
import type { Client } from './client.ts'
import type { RequestGuard } from './request-anomaly.ts'

/** What the advice of the score means as a response. */
const RESPONSES: Readonly<Record<RecommendedAction, readonly Response[]>> = {
  monitor: [],
  investigate: ['challenge'],
  limit: ['tighten'],
  'block-address': ['block-address'],
}

/** Watches the behaviour of clients. */
export class BehaviourWatch {
  readonly scorer: BehaviourScorer
  readonly #guard: Guard
  readonly #stateOf: (request: FastifyRequest) => RequestGuard | undefined
  #isWorking = false

  constructor(
    scorer: BehaviourScorer,
    guard: Guard,
    stateOf: (request: FastifyRequest) => RequestGuard | undefined,
  ) {
    this.scorer = scorer
    this.#guard = guard
    this.#stateOf = stateOf
  }

  observe(
    request: FastifyRequest,
    reply: FastifyReply,
    signal: Signal & { readonly country: string | undefined },
    client: Client,
  ): void {
    const { address, principalId, route, amount, statusCode = 0, country } = signal
    const state = this.#stateOf(request)
    const { clock } = this.#guard
    const anomaly = this.scorer.observe({
      key: principalId === undefined ? `a:${address}` : `p:${principalId}`,
      atMs: clock.now(),
      address,
      route,
      method: request.method,
      statusCode,
      bytesOut: amount,
      durationMs: reply.elapsedTime,
      failedAuthentication: state?.hasFailedLogin === true || statusCode === 401,
      userAgent: request.headers['user-agent'],
      country,
      contained: this.#isContained(signal, client),
      values: state?.values,
    })
    if (anomaly !== undefined) this.#report(anomaly, signal)
    this.#work()
  }

  #isContained({ principalId }: Signal, { bits }: Client): boolean {
    const { active, clock } = this.#guard
    if (active.size === 0) return false
    const now = clock.now()
    if (bits !== undefined && active.ofAddress(bits, now) !== undefined) return true
    return principalId !== undefined && active.ofPrincipal(principalId, now) !== undefined
  }

  #report(anomaly: BehaviourAnomaly, { address, principalId, route, origin }: Signal): void {
    if (anomaly.phase !== 'ready') return
    const { desk, settings } = this.#guard
    const { score, threshold, severity, recommendedAction, features } = anomaly
    const { mode } = settings.behaviour
    desk.report({
      rule: 'behaviour',
      label: 'unusual_behaviour',
      severity,
      group: principalId === undefined ? address : `principal ${principalId}`,
      subject: { address, ...(principalId === undefined ? undefined : { principalId }) },
      evidence: { score, threshold },
      reasons: features.map(
        ({ feature, value, usual, share }) =>
          `${feature} is ${round(value)}, usually ${round(usual[0])} to ${round(usual[1])} ` +
          `(${Math.round(share * 100)} % of the score).`,
      ),
      respond: RESPONSES[recommendedAction],
      ...(route === undefined ? undefined : { route }),
      ...(origin === undefined ? undefined : { origin }),
      ...(mode === undefined ? undefined : { mode }),
    })
  }

  /** One slice of at most a millisecond for each turn of the event loop, until nothing is left. */
  #work(): void {
    if (this.#isWorking) return
    this.#isWorking = true
    const slice = (): void => {
      if (this.scorer.work()) setImmediate(slice)
      else this.#isWorking = false
    }
    setImmediate(slice)
  }
}

function round(value: number): number {
  return Number(value.toPrecision(3))
}
