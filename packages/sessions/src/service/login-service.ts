/** The steps behind the login and logout routes. */
import { createHmac } from 'node:crypto'
import type { SecurityEvents } from '@parapet/kit'
import {
  PARAPET_SESSIONS_LOGIN_FAILED,
  PARAPET_SESSIONS_NOT_FOUND,
  PARAPET_SESSIONS_UNAVAILABLE,
} from '../errors.ts'
import type { FinishedLogin, SingleSignOn, StartedLogin } from '../oidc/single-sign-on.ts'
import type {
  AuthenticatedUser,
  CredentialCheck,
  Credentials,
} from '../passwords/password-check.ts'
import { requireProof, requireUser, type LoginProof, type SessionUser } from '../users/user.ts'
import { callPort } from '../second-factor/second-factor.ts'
import { deriveKey } from '../secrets/derive-key.ts'
import type { SessionContext } from '../session/context.ts'
import { endSession, endSessionByRefreshToken } from '../session/end-session.ts'
import type { SessionGrant } from '../session/grant.ts'
import { ownerOfSession } from '../session/list-sessions.ts'
import type { TokenVerifier } from '../tokens/verify-jwt.ts'
import type { RequestLike } from '../users/request-like.ts'
import { emitEnded } from './emit-revoked.ts'
import type { PendingTicket, SecondStep, StepContext } from './second-step.ts'

/** What {@link createLoginService} needs. */
export interface LoginServiceSettings {
  readonly context: SessionContext
  readonly secondStep: SecondStep
  readonly singleSignOn: SingleSignOn
  readonly verifyToken: TokenVerifier
  /** The first derives the key of the hash of login names in events. */
  readonly secrets: readonly string[]
  readonly securityEvents: SecurityEvents
}

/** The callback of a provider. */
interface SingleSignOnCallback {
  readonly provider: string
  /** The query exactly as it was sent. */
  readonly query: URLSearchParams
  /** The cookie that {@link LoginService.startSingleSignOn} returned. */
  readonly cookie: string | undefined
}

/** The credentials of a logout; each may be absent or invalid. */
interface LogoutCredentials {
  readonly refreshToken: string | undefined
  readonly accessToken: string | null
}

/** The tokens of a session, or a ticket where the login needs a second step. */
export type LoginResult = SessionGrant | PendingTicket

/** See {@link createLoginService}. */
export interface LoginService {
  /**
   * Checks credentials, and starts a session or a second step.
   *
   * @throws PARAPET_SESSIONS_LOGIN_FAILED, PARAPET_SESSIONS_UNAVAILABLE, and errors of the check that
   *   have a `statusCode`.
   */
  logIn(check: CredentialCheck, credentials: Credentials, step: StepContext): Promise<LoginResult>
  /** Ends the session of the browser, because another login replaces it. */
  endReplaced(refreshToken: string | undefined, request: RequestLike): Promise<void>
  /** @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_UNAVAILABLE */
  startSingleSignOn(provider: string, returnTo: string): Promise<StartedLogin>
  /** @throws PARAPET_SESSIONS_NOT_FOUND there is no provider of this name. */
  requireProvider(provider: string): void
  /** @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE */
  finishSingleSignOn(
    callback: SingleSignOnCallback,
    step: StepContext,
  ): Promise<{
    readonly result: LoginResult
    /** A path of this service. */
    readonly returnTo: string
  }>
  /** Ends the session of the refresh token, or else that of the access token. Never refuses. */
  logOut(credentials: LogoutCredentials, request: RequestLike): Promise<void>
  /** @throws PARAPET_SESSIONS_NOT_FOUND the user has no such session. */
  endOwnSession(userId: string, sessionId: string, request: RequestLike): Promise<void>
}

/** Creates the steps behind the login and logout routes. */
export function createLoginService(settings: LoginServiceSettings): LoginService {
  const { context, secondStep, singleSignOn, verifyToken, secrets, securityEvents } = settings
  const hashLogin = createLoginHash(secrets[0]!)

  async function finishAtProvider(
    { provider, query, cookie }: SingleSignOnCallback,
    { request }: StepContext,
  ): Promise<FinishedLogin> {
    try {
      return await singleSignOn.finish(provider, query, cookie)
    } catch (error) {
      // A provider that is down has refused nobody.
      if (error instanceof PARAPET_SESSIONS_UNAVAILABLE) throw error
      const details = { method: `oidc:${provider}`, loginHash: null }
      securityEvents.emit('sessions.login_failed', { details }, request)
      throw error
    }
  }

  return {
    async logIn(check, credentials, step) {
      const found = await callPort(() => check(credentials), readUser)
      if (found === null) {
        const details = { method: 'pwd', loginHash: hashLogin(credentials.login) }
        securityEvents.emit('sessions.login_failed', { details }, step.request)
        throw new PARAPET_SESSIONS_LOGIN_FAILED()
      }
      return secondStep.begin(found.user, found.proof, step)
    },
    async endReplaced(refreshToken, request) {
      const ended = await endSessionByRefreshToken(context, refreshToken)
      if (ended !== null) emitEnded(securityEvents, ended, 'another login', request)
    },
    startSingleSignOn: (provider, returnTo) => singleSignOn.start(provider, returnTo),
    requireProvider: (provider) => singleSignOn.requireProvider(provider),
    async finishSingleSignOn(callback, step) {
      const { user, proof, isMultiFactor, returnTo } = await finishAtProvider(callback, step)
      return { result: await secondStep.begin(user, proof, step, isMultiFactor), returnTo }
    },
    async logOut({ refreshToken, accessToken }, request) {
      let ended = await endSessionByRefreshToken(context, refreshToken)
      // A logout needs to know the session, which an expired token names as well.
      const token = ended === null ? verifyToken(accessToken ?? '', { evenExpired: true }) : null
      if (token !== null && typeof token === 'object') {
        ended = await endSession(context, token.sessionId)
      }
      if (ended !== null) emitEnded(securityEvents, ended, 'logout', request)
    },
    async endOwnSession(userId, sessionId, request) {
      // The same response for the session of another user and for one that does not exist.
      const owner = await ownerOfSession(context, sessionId)
      if (owner !== userId) throw new PARAPET_SESSIONS_NOT_FOUND()
      await endSession(context, sessionId)
      emitEnded(securityEvents, { sessionId, userId }, 'by the user', request)
    },
  }
}

/** Reads what the credential check returned; `null`: it refused. */
function readUser(
  found: AuthenticatedUser | null | undefined,
): { readonly user: SessionUser; readonly proof: LoginProof } | null {
  if (found === null || found === undefined) return null
  const { amr, ...user } = found
  const proof = amr === undefined ? {} : { amr }
  requireProof(proof, 0)
  return { user: requireUser(user), proof }
}

/**
 * A keyed hash: events show which failed logins used the same name, but not which name it was. Names
 * that differ by case or by spaces around them have the same hash.
 */
function createLoginHash(secret: string): (login: string) => string {
  const key = deriveKey(secret, 'login hash')
  return (login) => {
    const name = login.normalize('NFKC').trim().toLowerCase()
    return createHmac('sha256', key).update(name).digest('base64url').slice(0, 22)
  }
}
