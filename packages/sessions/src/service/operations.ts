/** The public operations at `app.sessions`. */
import type { ApiKeys } from '../api-keys/api-keys.ts'
import type { PublishedKey } from '../keys/jwk.ts'
import type { KeySet } from '../keys/read-key.ts'
import type { HashingState } from '../passwords/hash-queue.ts'
import type { EndedListener } from '../revocation/ended-access.ts'
import type { RevocationList } from '../revocation/revocation-list.ts'
import type { SessionGrant } from '../session/grant.ts'
import type { SessionView } from '../session/list-sessions.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import type { RequestLike } from '../users/request-like.ts'
import type { ShownFactor } from '../users/shown-factor.ts'
import type { LoginProof, SessionUser } from '../users/user.ts'

/** What {@link SessionOperations.revoke} revokes. */
export type RevocationTarget =
  | { readonly tokenId: string }
  | { readonly sessionId: string }
  | UserTarget
  | 'everyone'

/** All sessions and API keys of a user, or all sessions but one. */
export interface UserTarget {
  readonly userId: string
  /** The session that continues. API keys stay valid with it. */
  readonly exceptSessionId?: string
  /** @default false */
  readonly keepApiKeys?: boolean
}

/**
 * The operations at `app.sessions` that need no reply. A method that uses the store rejects with the
 * store's error (`PARAPET_KIT_STORE_*`) while the store is down.
 */
export interface SessionOperations {
  /**
   * Starts a session for a user who has just authenticated.
   *
   * @throws PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_TOKEN_TOO_LARGE,
   *   PARAPET_SESSIONS_ACCOUNT_LOCKED, PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED
   */
  start(user: SessionUser, proof?: LoginProof, request?: RequestLike): Promise<SessionGrant>
  /**
   * Exchanges a refresh token for its successor. Using a token a second time ends its session.
   *
   * @throws PARAPET_SESSIONS_REFRESH_REFUSED, PARAPET_SESSIONS_UNAVAILABLE
   */
  refresh(refreshToken: string, request?: RequestLike): Promise<SessionGrant>
  /**
   * Gives a session new tokens after its user has shown another factor. The session gets a new id, and
   * all tokens of the old id are refused: a token stolen before the proof is not lifted by it.
   *
   * @throws PARAPET_SESSIONS_UNAUTHENTICATED the session has ended.
   * @throws PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_TOKEN_TOO_LARGE,
   *   PARAPET_SESSIONS_UNAVAILABLE, and what `shown.bind` throws; the session is unchanged then.
   */
  elevate(sessionId: string, shown: ShownFactor, request?: RequestLike): Promise<SessionGrant>
  /**
   * Verifies an access token in the same way as that of a request: signature, claims and revocation.
   *
   * @throws PARAPET_SESSIONS_UNAUTHENTICATED, PARAPET_SESSIONS_UNAVAILABLE
   */
  verify(accessToken: string): Promise<AccessToken>
  /**
   * Revokes tokens or sessions on every instance. Resolves when the store has the revocation.
   *
   * `{ userId }` revokes the API keys of the user as well; `'everyone'` revokes no API keys.
   *
   * @param reason is written to the security event. @default 'by the service'
   * @throws PARAPET_SESSIONS_INVALID_ARGUMENT
   */
  revoke(target: RevocationTarget, reason?: string): Promise<void>
  /** Revokes the access tokens of a user whose roles changed; a refresh returns tokens with the new ones. */
  userChanged(userId: string): Promise<void>
  /** Ends all sessions, access tokens and API keys of a user. */
  disableUser(userId: string): Promise<void>
  /** The active sessions of a user, the most recently used first. */
  list(userId: string): Promise<SessionView[]>
  /**
   * Names the device of a session, in 1 to 64 characters.
   *
   * @returns `false`: the user has no such session.
   * @throws PARAPET_SESSIONS_INVALID_ARGUMENT
   */
  nameDevice(userId: string, sessionId: string, name: string): Promise<boolean>
  /**
   * Replaces the signing keys. A key that was trusted and is left out stays trusted until the tokens it
   * signed have expired, so no request is refused.
   *
   * @throws PARAPET_SESSIONS_KEY_NOT_PUBLISHED, PARAPET_SESSIONS_INVALID_KEY
   */
  rotateKeys(keys: KeySet): void
  /** The public keys, for services that verify access tokens themselves. @see RFC 7517 */
  jwks(): { readonly keys: readonly PublishedKey[] }
  /**
   * Calls a listener on this instance when tokens, sessions or users are revoked on any instance. Close
   * the WebSockets and streams for which `ended.includes(token)` is true. Tokens that expire and API
   * keys are not reported.
   *
   * @returns a function that stops listening.
   */
  onEnded(listener: EndedListener): () => void
  /** How many passwords are being hashed in this process, for your metrics. */
  readonly hashing: HashingState
  readonly apiKeys: ApiKeys
  /** `pushed`: requests need no store call. `checked`: each request asks the store. */
  readonly revocationState: RevocationList['state']
}
