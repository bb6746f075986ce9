/** The steps behind the login and logout routes. */
import { PARAPET_SESSIONS_LOGIN_FAILED, PARAPET_SESSIONS_NOT_FOUND } from '../errors.ts'
import type {
  AuthenticatedUser,
  CredentialCheck,
  Credentials,
} from '../passwords/password-check.ts'
import { requireProof, requireUser, type LoginProof, type SessionUser } from '../users/user.ts'
import { callPort } from '../second-factor/second-factor.ts'
import type { LoginHash } from '../secrets/login-hash.ts'
import { endSession, endSessionByRefreshToken } from '../session/end-session.ts'
import { ownerOfSession } from '../session/list-sessions.ts'
import type { TokenVerifier } from '../tokens/verify-jwt.ts'
import type { RequestLike } from '../users/request-like.ts'
import { emitEnded } from './emit-revoked.ts'
import {
  createProviderLogins,
  type ProviderLogins,
  type ProviderLoginSettings,
} from './provider-logins.ts'
import type { LoginResult, StepContext } from './second-step.ts'

/** What {@link createLoginService} needs. */
export interface LoginServiceSettings extends ProviderLoginSettings {
  readonly verifyToken: TokenVerifier
  readonly hashLogin: LoginHash
}

/** The credentials of a logout; each may be absent or invalid. */
interface LogoutCredentials {
  readonly refreshToken: string | undefined
  readonly accessToken: string | null
}

/** See {@link createLoginService}. */
export interface LoginService extends ProviderLogins {
  /**
   * Checks credentials, and starts a session or a second step.
   *
   * @throws PARAPET_SESSIONS_LOGIN_FAILED, PARAPET_SESSIONS_UNAVAILABLE, and errors of the check that
   *   have a `statusCode`.
   */
  logIn(check: CredentialCheck, credentials: Credentials, step: StepContext): Promise<LoginResult>
  /** Ends the session of the browser, because another login replaces it. */
  endReplaced(refreshToken: string | undefined, request: RequestLike): Promise<void>
  /** Ends the session of the refresh token, or else that of the access token. Never refuses. */
  logOut(credentials: LogoutCredentials, request: RequestLike): Promise<void>
  /**
   * As `logOut`, and says where the browser goes next.
   *
   * @returns a URL of the provider from which the session came, or `returnTo`.
   */
  logOutAtProvider(
    credentials: LogoutCredentials,
    returnTo: string,
    request: RequestLike,
  ): Promise<string>
  /** @throws PARAPET_SESSIONS_NOT_FOUND the user has no such session. */
  endOwnSession(userId: string, sessionId: string, request: RequestLike): Promise<void>
}

/** Creates the steps behind the login and logout routes. */
export function createLoginService(settings: LoginServiceSettings): LoginService {
  const { context, secondStep, verifyToken, hashLogin, securityEvents } = settings

  const providerLogins = createProviderLogins(settings)

  /** A logout needs to know the session, which an expired token names as well. */
  function sessionIdOf({ refreshToken, accessToken }: LogoutCredentials): string | null {
    const refreshed = context.refreshTokens.parse(refreshToken)
    if (refreshed !== null) return refreshed.sessionId
    const token = verifyToken(accessToken ?? '', { evenExpired: true })
    return typeof token === 'object' ? token.sessionId : null
  }

  function reportFailure({ login }: Credentials, { request }: StepContext): void {
    const details = { method: 'pwd', loginHash: hashLogin(login) }
    securityEvents.emit('sessions.login_failed', { details }, request)
  }

  const service: LoginService = {
    ...providerLogins,
    async logIn(check, credentials, step) {
      const found = await callPort(() => check(credentials), readUser)
      if (found === null) {
        reportFailure(credentials, step)
        throw new PARAPET_SESSIONS_LOGIN_FAILED()
      }
      const { user, proof, isStillValid } = found
      try {
        return await secondStep.begin(user, proof, step, undefined, isStillValid)
      } catch (error) {
        if (error instanceof PARAPET_SESSIONS_LOGIN_FAILED) reportFailure(credentials, step)
        throw error
      }
    },
    async endReplaced(refreshToken, request) {
      const ended = await endSessionByRefreshToken(context, refreshToken)
      if (ended !== null) emitEnded(securityEvents, ended, 'another login', request)
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
    async logOutAtProvider(credentials, returnTo, request) {
      const sessionId = sessionIdOf(credentials)
      const url = await providerLogins.logoutUrlOf(sessionId, returnTo)
      await service.logOut(credentials, request)
      return url
    },
    async endOwnSession(userId, sessionId, request) {
      // The same response for the session of another user and for one that does not exist.
      const owner = await ownerOfSession(context, sessionId)
      if (owner !== userId) throw new PARAPET_SESSIONS_NOT_FOUND()
      await endSession(context, sessionId)
      emitEnded(securityEvents, { sessionId, userId }, 'by the user', request)
    },
  }
  return service
}

interface FoundUser {
  readonly user: SessionUser
  readonly proof: LoginProof
}

/** Reads what the credential check returned; `null`: it refused. */
function readUser(
  found: AuthenticatedUser | null | undefined,
): (Pick<AuthenticatedUser, 'isStillValid'> & FoundUser) | null {
  if (found === null || found === undefined) return null
  const { amr, isStillValid, ...user } = found
  const proof = amr === undefined ? {} : { amr }
  requireProof(proof, 0)
  return { user: requireUser(user), proof, ...(isStillValid && { isStillValid }) }
}
