/** The public operations at `app.sessions`. */
import type { SecurityEvents } from '@parapet/kit'
import type { ApiKeys } from '../api-keys/api-keys.ts'
import type { PublishedKey } from '../keys/jwk.ts'
import type { KeySet } from '../keys/read-key.ts'
import type { RevocationList } from '../revocation/revocation-list.ts'
import type { SessionGrant } from '../session/grant.ts'
import type { SessionView } from '../session/list-sessions.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import type { LoginProof, SessionUser } from '../users/user.ts'

/** The request that caused an operation. It fills in the device of a session and the source of events. */
export type RequestLike = NonNullable<Parameters<SecurityEvents['emit']>[2]>

/** What {@link SessionOperations.revoke} revokes. */
export type RevocationTarget =
  | { readonly tokenId: string }
  | { readonly sessionId: string }
  | UserTarget
  | 'everyone'

/** All sessions of a user, or all but one. API keys stay valid. */
export interface UserTarget {
  readonly userId: string
  readonly exceptSessionId?: string
}

/**
 * The operations at `app.sessions` that need no reply. A method that uses the store rejects with the
 * store's error (`PARAPET_KIT_STORE_*`) while the store is down.
 */
export interface SessionOperations {
  /**
   * Starts a session for a user who has just authenticated.
   *
   * @throws PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_TOKEN_TOO_LARGE
   */
  start(user: SessionUser, proof?: LoginProof, request?: RequestLike): Promise<SessionGrant>
  /**
   * Exchanges a refresh token for its successor. Using a token a second time ends its session.
   *
   * @throws PARAPET_SESSIONS_REFRESH_REFUSED, PARAPET_SESSIONS_UNAVAILABLE
   */
  refresh(refreshToken: string, request?: RequestLike): Promise<SessionGrant>
  /**
   * Verifies an access token in the same way as that of a request: signature, claims and revocation.
   *
   * @throws PARAPET_SESSIONS_UNAUTHENTICATED, PARAPET_SESSIONS_UNAVAILABLE
   */
  verify(accessToken: string): Promise<AccessToken>
  /**
   * Revokes tokens or sessions on every instance. Resolves when the store has the revocation.
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
   * Replaces the signing keys. A key that was trusted and is left out stays trusted until the tokens it
   * signed have expired, so no request is refused.
   *
   * @throws PARAPET_SESSIONS_KEY_NOT_PUBLISHED, PARAPET_SESSIONS_INVALID_KEY
   */
  rotateKeys(keys: KeySet): void
  /** The public keys, for services that verify access tokens themselves. @see RFC 7517 */
  jwks(): { readonly keys: readonly PublishedKey[] }
  readonly apiKeys: ApiKeys
  /** `pushed`: requests need no store call. `checked`: each request asks the store. */
  readonly revocationState: RevocationList['state']
}
