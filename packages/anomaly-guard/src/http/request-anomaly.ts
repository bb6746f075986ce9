/** The decorator `request.anomaly`: what a handler tells the guard. */
import type { FastifyRequest } from 'fastify'
import { slotOf, type Containment } from '../contain/containment.ts'
import type { Inspection } from '../inspect/types.ts'
import type { Guard } from '../service/guard.ts'
import type { Client } from './client.ts'
import { originOf } from './request-state.ts'

/** What a detection point knows of the attempt. Both are hashed at once with the option `secret`. */
export interface Attempt {
  /** The account that was aimed at, for instance the login name. */
  readonly account?: string
  /** The password or code that was tried: the same one on many accounts is spraying. */
  readonly secret?: string
}

/** What a handler tells the guard, and reads from it. */
export interface RequestAnomaly {
  /**
   * A detection point: something that honest clients rarely do. `login` feeds the rules on logins, any other
   * name `rules.detectionPoints` and your own rules on that name.
   */
  fail(point: string, attempt?: Attempt): void
  /** A login succeeded. `login` is the only point that has a rule on success. */
  succeed(point: string, attempt?: Pick<Attempt, 'account'>): void
  /** A fact for your own rules, such as the amount of a transfer. */
  note(name: string, facts?: { readonly resource?: string; readonly amount?: number }): void
  /**
   * Whether an account is being attacked from many addresses, and this client has not solved a challenge since.
   * Ask before the password is checked, and demand more: a code by e-mail, `config.anomaly.account` does it
   * for you. Only in mode `enforce`.
   */
  isUnderAttack(point: 'login', attempt: Required<Pick<Attempt, 'account'>>): boolean
  /**
   * Since when the caller has to show a second factor, because of a step-up, in milliseconds since the epoch;
   * for `demandedSince` of `@parapet/mfa`, or for your own second factor.
   */
  readonly stepUpSince: number | undefined
  /** A value for a feature of `behaviour.features`. */
  measure(feature: string, value: number): void
  /** What the inspection found in this request; `undefined` before it ran or where it is off. */
  readonly inspection: Inspection | undefined
}

const POINT = /^[a-z][a-z0-9-]{0,63}$/

/** The implementation; one object for each request that uses it. */
export class RequestGuard implements RequestAnomaly {
  inspection: Inspection | undefined = undefined
  /** Set by `fail('login')`, for the behaviour score. */
  hasFailedLogin = false
  values: Record<string, number> | undefined = undefined
  /** The account that the route has named, as a keyed hash. */
  account: string | undefined = undefined
  /** The password that the route has named, as a keyed hash. */
  secret: string | undefined = undefined
  readonly #counted = new Map<string, number>()
  readonly #request: FastifyRequest
  readonly #guard: Guard
  readonly #client: () => Client
  readonly #hasPass: (containment: Containment) => boolean

  constructor(
    request: FastifyRequest,
    guard: Guard,
    client: () => Client,
    hasPass: (containment: Containment) => boolean,
  ) {
    this.#hasPass = hasPass
    this.#request = request
    this.#guard = guard
    this.#client = client
  }

  /**
   * One failure may be told by a handler and by events of several plugins: it counts as often as the one that
   * tells it most often.
   */
  isNews(signal: string, source: string): boolean {
    const key = `${signal} ${source}`
    const told = (this.#counted.get(key) ?? 0) + 1
    this.#counted.set(key, told)
    if (told <= (this.#counted.get(signal) ?? 0)) return false
    this.#counted.set(signal, told)
    return true
  }

  isUnderAttack(_point: 'login', { account }: Required<Pick<Attempt, 'account'>>): boolean {
    const { active, clock, pseudonym } = this.#guard
    const found = active.ofAccount(pseudonym('account', account), clock.now())
    return found !== undefined && !this.#client().isAllowed && !this.#hasPass(found)
  }

  get stepUpSince(): number | undefined {
    const { active, clock } = this.#guard
    const id = active.hasPrincipals ? this.#request.principal?.id : undefined
    if (id === undefined || this.#client().isAllowed) return undefined
    const found = active.inSlot(slotOf('step-up', { type: 'principal', value: id }))
    return found !== undefined && found.until > clock.now() ? found.createdAt : undefined
  }

  fail(point: string, { account, secret }: Attempt = {}): void {
    const isLogin = point === 'login'
    if (isLogin) this.hasFailedLogin = true
    const { pseudonym } = this.#guard
    this.#send(isLogin ? 'login-failed' : point, {
      ...(account === undefined ? undefined : { account: pseudonym('account', account) }),
      ...(secret === undefined ? undefined : { secret: pseudonym('secret', secret) }),
    })
    if (!isLogin) this.#send('detection-point', { resource: point })
  }

  succeed(point: string, { account }: Pick<Attempt, 'account'> = {}): void {
    const name = point === 'login' ? 'login-succeeded' : `${point}-succeeded`
    const { pseudonym } = this.#guard
    this.#send(name, account === undefined ? {} : { account: pseudonym('account', account) })
  }

  note(name: string, facts: { readonly resource?: string; readonly amount?: number } = {}): void {
    this.#send(name, facts)
  }

  measure(feature: string, value: number): void {
    if (!Number.isFinite(value)) return
    this.values ??= {}
    this.values[feature] = value
  }

  #send(name: string, facts: object): void {
    // A wrong name is a mistake of the programmer, but no reason to break a request.
    if (!POINT.test(name)) {
      this.#request.log.warn({ name }, 'anomaly-guard ignored a signal: its name is invalid')
      return
    }
    if (!this.isNews(name, 'handler')) return
    const { principal, routeOptions, method } = this.#request
    const client = this.#client()
    this.#guard.observe({
      name,
      atMs: this.#guard.tick(),
      address: client.key,
      principalId: principal?.id,
      sessionId: principal?.sessionId,
      route: routeOptions.url === undefined ? undefined : `${method} ${routeOptions.url}`,
      origin: originOf(this.#request, client),
      ...facts,
    })
  }
}
