/** The second step of a login: between the first factor and the session. */
import type { SecurityEvents } from '@parapet/kit'
import {
  PARAPET_SESSIONS_LOGIN_FAILED,
  PARAPET_SESSIONS_SSO_REFUSED,
  PARAPET_SESSIONS_TICKET_REFUSED,
} from '../errors.ts'
import { birthOf, hasEnded } from '../revocation/epoch.ts'
import {
  createPendingLogins,
  TICKET_LIFETIME_MS,
  type PendingLogin,
  type PendingLogins,
} from '../second-factor/pending-logins.ts'
import {
  callPort,
  type SecondFactor,
  type SecondFactorContext,
  type SecondFactorProof,
} from '../second-factor/second-factor.ts'
import { lookUpUser, type SessionContext } from '../session/context.ts'
import { endSession } from '../session/end-session.ts'
import type { SessionGrant } from '../session/grant.ts'
import type { SessionOrigin } from '../users/session-origin.ts'
import { isNameList } from '../users/names.ts'
import { joinProofs, type ShownFactor } from '../users/shown-factor.ts'
import { requireProof, requireUser, type LoginProof, type SessionUser } from '../users/user.ts'
import type { SessionService } from './session-service.ts'

/** A login that waits for its second step. */
interface PendingTicket {
  readonly ticket: string
  readonly methods: readonly string[]
  readonly expiresInSeconds: number
}

/** The tokens of a session, or a ticket where the login needs a second step. */
export type LoginResult = SessionGrant | PendingTicket

/** The request and response of one step. */
export type StepContext = Omit<SecondFactorContext, 'amr'>

/** What a login at an identity provider has shown. */
interface FirstStepAtProvider {
  /** Whether it is trusted to have checked two factors. */
  readonly isMultiFactor: boolean
  readonly origin: SessionOrigin
  /** Whether a link says that it is this user. */
  readonly isLinked: boolean
}

/** See {@link createSecondStep}. */
export interface SecondStep {
  /**
   * Starts the session, or a second step where the user has a factor.
   *
   * @param provider what a login at an identity provider has shown.
   * @param isStillValid whether the first factor still logs in, asked after the session has begun: what ends the sessions
   *   of the user from then on ends this one as well.
   * @throws PARAPET_SESSIONS_SSO_REFUSED its link has been removed meanwhile.
   * @throws PARAPET_SESSIONS_LOGIN_FAILED the first factor does not log in any more.
   */
  begin(
    user: SessionUser,
    proof: LoginProof,
    step: StepContext,
    provider?: FirstStepAtProvider,
    isStillValid?: () => Promise<boolean>,
  ): Promise<SessionGrant | PendingTicket>
  /** @throws PARAPET_SESSIONS_TICKET_REFUSED, PARAPET_SESSIONS_UNAVAILABLE */
  options(
    ticket: string,
    step: StepContext,
  ): Promise<{ readonly methods: readonly string[]; readonly passkey?: object }>
  /**
   * @throws PARAPET_SESSIONS_TICKET_REFUSED, PARAPET_SESSIONS_LOGIN_FAILED, PARAPET_SESSIONS_SSO_REFUSED, and
   *   what the port throws.
   */
  finish(ticket: string, proof: SecondFactorProof, step: StepContext): Promise<SessionGrant>
}

/** What {@link createSecondStep} needs. */
export interface SecondStepSettings {
  readonly context: SessionContext
  readonly sessions: Pick<SessionService, 'start'>
  /** `undefined`: the first step is enough. */
  readonly secondFactor: SecondFactor | undefined
  /** The id of the user to whom an identity is linked. */
  readonly ownerOf: (origin: SessionOrigin) => Promise<string | null>
  readonly securityEvents: SecurityEvents
}

/** Creates the second step. */
export function createSecondStep(settings: SecondStepSettings): SecondStep {
  return new PortedSecondStep(settings)
}

class PortedSecondStep implements SecondStep {
  readonly #settings: SecondStepSettings
  readonly #pending: PendingLogins

  constructor(settings: SecondStepSettings) {
    this.#settings = settings
    this.#pending = createPendingLogins(settings.context.store, settings.context.seal)
  }

  async begin(
    user: SessionUser,
    proof: LoginProof,
    step: StepContext,
    provider?: FirstStepAtProvider,
    isStillValid?: () => Promise<boolean>,
  ): Promise<SessionGrant | PendingTicket> {
    const result = await this.#begin(user, proof, step, provider)
    if (isStillValid === undefined || (await callPort(isStillValid))) return result
    // Nobody has seen a ticket.
    if ('sessionId' in result) await endSession(this.#settings.context, result.sessionId)
    throw new PARAPET_SESSIONS_LOGIN_FAILED()
  }

  async #begin(
    given: SessionUser,
    proof: LoginProof,
    step: StepContext,
    { isMultiFactor = false, origin, isLinked = false }: Partial<FirstStepAtProvider> = {},
  ): Promise<SessionGrant | PendingTicket> {
    const { context, secondFactor, securityEvents } = this.#settings
    const { request } = step
    const shown = origin && { origin, isLinked }
    if (secondFactor === undefined || isMultiFactor) {
      return this.#startSession(given, proof, request, shown)
    }
    const user = requireUser(given)
    const first = requireProof(proof, context.now())
    const circumstances = { ...step, amr: first.amr }
    const methods = await callPort(
      () => secondFactor.methodsOf(user.id, circumstances),
      requireMethods,
    )
    if (methods.length === 0) return this.#startSession(user, proof, request, shown)
    const born = birthOf(await context.epochs.open(user.id))
    const ticket = await this.#pending.add({ user, proof: first, born, ...shown })
    const fields = { principalId: user.id, details: { methods: [...methods] } }
    securityEvents.emit('sessions.second_factor_requested', fields, request)
    return { ticket, methods, expiresInSeconds: TICKET_LIFETIME_MS / 1000 }
  }

  async options(
    ticket: string,
    step: StepContext,
  ): Promise<{ readonly methods: readonly string[]; readonly passkey?: object }> {
    const [{ user, proof }, port] = await this.#requirePending(ticket)
    const circumstances = { ...step, amr: proof.amr }
    const methods = await callPort(() => port.methodsOf(user.id, circumstances), requireMethods)
    if (port.passkeyOptions === undefined || !methods.includes('passkey')) return { methods }
    const passkey = await callPort(() => port.passkeyOptions!(user.id, circumstances))
    return { methods, passkey }
  }

  async finish(ticket: string, proof: SecondFactorProof, step: StepContext): Promise<SessionGrant> {
    const [login, port] = await this.#requirePending(ticket)
    const { id } = login.user
    if (!(await this.#pending.countTry(ticket))) {
      this.#emitFailed(id, step)
      throw new PARAPET_SESSIONS_TICKET_REFUSED()
    }
    let shown: ShownFactor
    try {
      shown = await callPort(() => port.verify(id, proof, { ...step, amr: login.proof.amr }))
    } catch (error) {
      this.#emitFailed(id, step)
      throw error
    }
    if (!(await this.#pending.take(ticket))) throw new PARAPET_SESSIONS_TICKET_REFUSED()
    return this.#start(login, shown, step)
  }

  async #requirePending(ticket: string): Promise<[PendingLogin, SecondFactor]> {
    const { secondFactor } = this.#settings
    const login = await this.#pending.find(ticket)
    if (login === null || secondFactor === undefined) throw new PARAPET_SESSIONS_TICKET_REFUSED()
    await this.#requireCurrent(login)
    return [login, secondFactor]
  }

  /** Refuses the login of a user who was disabled, or changed the password, since the first step. */
  async #requireCurrent({ user, born }: PendingLogin): Promise<void> {
    const pair = await this.#settings.context.epochs.read(user.id)
    if (hasEnded('', born, pair)) throw new PARAPET_SESSIONS_TICKET_REFUSED()
  }

  async #start(
    login: PendingLogin,
    shown: ShownFactor,
    { request }: StepContext,
  ): Promise<SessionGrant> {
    const { context } = this.#settings
    const { user, proof, origin, isLinked = false } = login
    const { findUser, now } = context
    const current = findUser === undefined ? user : await lookUpUser(findUser, user.id)
    if (current === null) throw new PARAPET_SESSIONS_LOGIN_FAILED()
    const joined = joinProofs(proof, shown, now())
    const grant = await this.#startSession(current, joined, request, origin && { origin, isLinked })
    try {
      // Again: a session that begins while all of its user end begins anew.
      await this.#requireCurrent(login)
      await shown.bind?.(grant.sessionId)
      return grant
    } catch (error) {
      await endSession(context, grant.sessionId)
      throw error
    }
  }

  /** The removal of a link ends the sessions that it finds: this one ends itself if it came too late for it. */
  async #startSession(
    user: SessionUser,
    proof: LoginProof,
    request: StepContext['request'],
    shown: Pick<FirstStepAtProvider, 'origin' | 'isLinked'> | undefined,
  ): Promise<SessionGrant> {
    const { context, sessions, ownerOf } = this.#settings
    const grant = await sessions.start(user, proof, request, shown?.origin)
    if (shown?.isLinked && (await ownerOf(shown.origin)) !== grant.userId) {
      await endSession(context, grant.sessionId)
      throw new PARAPET_SESSIONS_SSO_REFUSED()
    }
    return grant
  }

  #emitFailed(principalId: string, { request }: StepContext): void {
    const details = { method: 'second-factor', loginHash: null }
    this.#settings.securityEvents.emit('sessions.login_failed', { principalId, details }, request)
  }
}

/** An answer that cannot be read must not count as "no second step". */
function requireMethods(methods: readonly string[]): readonly string[] {
  if (isNameList(methods)) return methods
  throw new TypeError('"secondFactor.methodsOf" must return an array of names')
}
