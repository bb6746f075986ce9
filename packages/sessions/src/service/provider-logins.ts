/** Logins at an identity provider: from the start to the session. */
import type { SecurityEvents } from '@parapet/kit'
import { PARAPET_SESSIONS_LOGOUT_REFUSED, PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { FinishedVisit } from '../oidc/id-token.ts'
import { isLocalPath } from '../oidc/local-path.ts'
import type { ProviderCallback, SingleSignOn, StartedLogin } from '../oidc/single-sign-on.ts'
import type { SessionContext } from '../session/context.ts'
import { endSession } from '../session/end-session.ts'
import { isLoggedOut, rememberLogout, sessionsOf } from '../session/provider-session.ts'
import type { RequestLike } from '../users/request-like.ts'
import type { ProviderLogout } from '../users/session-origin.ts'
import { emitEnded } from './emit-revoked.ts'
import { readRecord } from './live-record.ts'
import type { OwnIdentities } from './own-identities.ts'
import type { LoginResult, SecondStep, StepContext } from './second-step.ts'

/** See {@link createProviderLogins}. */
export interface ProviderLogins {
  /**
   * @param refreshToken of the session of the browser, which the login replaces.
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_UNAVAILABLE
   */
  startSingleSignOn(
    provider: string,
    returnTo: string,
    refreshToken: string | undefined,
  ): Promise<StartedLogin>
  /** @throws PARAPET_SESSIONS_NOT_FOUND there is no provider of this name. */
  requireProvider(provider: string): void
  /**
   * Finishes a login, a link or a step-up.
   *
   * @param refreshToken of the session of the browser, where it sends the cookie.
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_IDENTITY_TAKEN,
   *   PARAPET_SESSIONS_UNAVAILABLE
   */
  finishSingleSignOn(
    callback: ProviderCallback,
    step: StepContext,
    refreshToken: string | undefined,
  ): Promise<{
    /** `null`: a link, which leaves the tokens as they are. */
    readonly result: LoginResult | null
    /** A path of this service. */
    readonly returnTo: string
  }>
  /**
   * Where the browser goes after a logout here: to the logout of the provider from which the session came,
   * or where it has none, to the path. Call it before the session ends.
   */
  logoutUrlOf(sessionId: string | null, returnTo: string): Promise<string>
  /** The path to which a logout at the provider returns. */
  pathAfterLogout(state: string | null): string
  /**
   * Ends the sessions that a logout token of the provider names.
   *
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_LOGOUT_REFUSED, PARAPET_SESSIONS_UNAVAILABLE
   */
  logOutByProvider(provider: string, token: string | null, request: RequestLike): Promise<void>
}

/** What {@link createProviderLogins} needs. */
export interface ProviderLoginSettings {
  readonly context: SessionContext
  readonly secondStep: SecondStep
  readonly singleSignOn: SingleSignOn
  readonly ownIdentities: OwnIdentities
  readonly securityEvents: SecurityEvents
}

/** Creates the logins at providers. */
export function createProviderLogins(settings: ProviderLoginSettings): ProviderLogins {
  const { context, secondStep, singleSignOn, ownIdentities, securityEvents } = settings
  const sessionIdOf = (refreshToken: string | undefined): string | null =>
    context.refreshTokens.parse(refreshToken)?.sessionId ?? null

  /** Runs what can refuse a visit to a provider. */
  async function reportRefusal<T>(
    { provider }: ProviderCallback,
    { request }: StepContext,
    work: () => Promise<T>,
  ): Promise<T> {
    try {
      return await work()
    } catch (error) {
      // A provider that is down has refused nobody.
      if (error instanceof PARAPET_SESSIONS_UNAVAILABLE) throw error
      const details = { method: `oidc:${provider}`, loginHash: null }
      securityEvents.emit('sessions.login_failed', { details }, request)
      throw error
    }
  }

  return {
    startSingleSignOn(provider, returnTo, refreshToken) {
      const sessionId = sessionIdOf(refreshToken)
      return singleSignOn.start(provider, { returnTo, purpose: 'login', sessionId })
    },
    requireProvider: (provider) => singleSignOn.requireProvider(provider),
    async finishSingleSignOn(callback, step, refreshToken) {
      const visit = await reportRefusal<FinishedVisit>(callback, step, () =>
        singleSignOn.finish(callback),
      )
      const { returnTo } = visit
      if (visit.purpose !== 'login') {
        const finish = () => ownIdentities.finish(visit, sessionIdOf(refreshToken), step.request)
        return { result: await reportRefusal(callback, step, finish), returnTo }
      }
      const { formerSessionId } = visit
      const result = await secondStep.begin(visit.user, visit.proof, step, visit)
      // The browser sends no cookie of its session with a form of another site, and no `strict` one.
      if ('sessionId' in result && formerSessionId !== null) {
        const ended = await endSession(context, formerSessionId)
        if (ended !== null) emitEnded(securityEvents, ended, 'another login', step.request)
      }
      return { result, returnTo }
    },
    async logoutUrlOf(sessionId, returnTo) {
      const path = isLocalPath(returnTo) ? returnTo : '/'
      const record = sessionId === null ? null : await readRecord(context, sessionId)
      const origin = record?.origin
      return (origin && (await singleSignOn.logoutUrlOf(origin, path))) ?? path
    },
    pathAfterLogout: (state) => singleSignOn.pathOf(state),
    async logOutByProvider(provider, token, request) {
      const logout = await singleSignOn.readLogout(provider, token)
      await endLoggedOut(settings, logout, request)
      if (!(await singleSignOn.useLogout(logout))) throw new PARAPET_SESSIONS_LOGOUT_REFUSED()
    },
  }
}

/** Ends the sessions that a logout is about, and remembers it for logins that are on their way. */
async function endLoggedOut(
  { context, securityEvents }: ProviderLoginSettings,
  logout: ProviderLogout,
  request: RequestLike,
): Promise<void> {
  await rememberLogout(context, logout)
  for (const sessionId of await sessionsOf(context, logout)) {
    const record = await readRecord(context, sessionId)
    if (record?.origin === undefined || !isLoggedOut(record.origin, logout)) continue
    const ended = await endSession(context, sessionId)
    if (ended !== null) emitEnded(securityEvents, ended, 'logout at the provider', request)
  }
}
