/** What is at `app.sessions`: the parts put together, and every deed told to the security events. */
import type { SecurityEvents, SecurityEventSubject, Store } from '@parapet/kit'
import {
  createAccessTokens,
  isRandomId,
  type AccessToken,
  type AccessTokens,
} from './access-tokens.ts'
import { createApiKeys, type ApiKeys } from './api-keys.ts'
import { createSqlApiKeys } from './api-keys-postgres.ts'
import { createStoreApiKeys } from './api-keys-store.ts'
import { createEpochs } from './epochs.ts'
import {
  PARAPET_SESSIONS_INVALID_ARGUMENT,
  PARAPET_SESSIONS_REFRESH_REFUSED,
  PARAPET_SESSIONS_UNAUTHENTICATED,
} from './errors.ts'
import type { RevocationScope } from './events.ts'
import { createKeyRing, type CreateVerifier, type KeyRing, type KeySet } from './keys.ts'
import { allowRsa2048, type SessionsSettings } from './options.ts'
import { createRefreshTokens } from './refresh-tokens.ts'
import { createRevocations, type Revocations } from './revocations.ts'
import {
  SessionBook,
  type RefreshAnswer,
  type SessionGrant,
  type SessionView,
} from './session-book.ts'
import { isUserId, type Device, type LoginProof, type SessionUser } from './user.ts'

/** The request that something is done for; it says where, and fills the events. */
export type RequestLike = NonNullable<Parameters<SecurityEvents['emit']>[2]>

/** What {@link SessionOperations.revoke} ends. */
export type RevocationTarget =
  | { readonly tokenId: string }
  | { readonly sessionId: string }
  | UserTarget
  | 'everyone'

/** All sessions of a user, or all but one; API keys go on. */
export interface UserTarget {
  readonly userId: string
  readonly exceptSessionId?: string
}

/** What is at `app.sessions`, but for what needs a reply. */
export interface SessionOperations {
  /** Begins a session for a user who has just proved who they are. */
  start(user: SessionUser, proof?: LoginProof, request?: RequestLike): Promise<SessionGrant>
  /**
   * Exchanges a refresh token for its successor. A token that was used before ends its session.
   *
   * @throws PARAPET_SESSIONS_REFRESH_REFUSED
   */
  refresh(refreshToken: string, request?: RequestLike): Promise<SessionGrant>
  /**
   * Verifies an access token as a request's is: signature, claims and revocation.
   *
   * @throws PARAPET_SESSIONS_UNAUTHENTICATED, PARAPET_SESSIONS_UNAVAILABLE
   */
  verify(accessToken: string): Promise<AccessToken>
  /** Ends tokens or sessions on every instance. It resolves when the store has it. */
  revoke(target: RevocationTarget, reason?: string): Promise<void>
  /** The user's roles changed: access tokens made before are refused, and a refresh gets new ones. */
  userChanged(userId: string): Promise<void>
  /** The user may do nothing any more: sessions, tokens and API keys end. */
  disableUser(userId: string): Promise<void>
  /** The sessions of a user, the one used last first. */
  list(userId: string): Promise<SessionView[]>
  /**
   * Takes another set of keys, with no request refused: what is trusted now stays trusted until the
   * tokens it signed have expired.
   *
   * @throws PARAPET_SESSIONS_KEY_NOT_PUBLISHED, PARAPET_SESSIONS_INVALID_KEY
   */
  rotateKeys(keys: KeySet): void
  /** The public keys, for services that verify tokens themselves. @see RFC 7517 */
  jwks(): ReturnType<KeyRing['publish']>['body']
  readonly apiKeys: ApiKeys
  /** `pushed`: requests ask nobody. `checked`: the store is asked on each, since messages may be missing. */
  readonly revocationState: Revocations['state']
}

/** What the service is put together from. */
export interface ServiceParts {
  readonly store: Store
  readonly ring: KeyRing
  readonly book: SessionBook
  readonly accessTokens: AccessTokens
  readonly revocations: Revocations
  readonly apiKeys: ApiKeys
  readonly securityEvents: SecurityEvents
}

/** How far clocks of instances may differ while a revocation is remembered, in milliseconds. */
const MARGIN_MS = 60_000

/** Puts the parts together. Nothing runs before `revocations.start()`. */
export function createParts(
  settings: SessionsSettings,
  createVerifier: CreateVerifier,
  securityEvents: SecurityEvents,
): ServiceParts {
  const { clock, store, sql, issuer, audience, accessLifetimeMs: lifetimeMs } = settings
  const { now } = clock
  const keepMs = lifetimeMs + MARGIN_MS
  const ring = createKeyRing({
    keys: settings.keys,
    allowRsa2048: settings[allowRsa2048],
    createVerifier,
    now,
    overlapMs: keepMs,
  })
  const epochs = createEpochs(store, now, settings.refreshAbsoluteMs + keepMs)
  const revocations = createRevocations({ store, epochs, clock, keepMs })
  const accessTokens = createAccessTokens({ ring, issuer, audience, lifetimeMs, now })
  const refreshTokens = createRefreshTokens(settings.secrets)
  const book = new SessionBook({
    ...settings,
    now,
    lifetimes: settings,
    epochs,
    accessTokens,
    refreshTokens,
    revocations,
  })
  const kept = sql === undefined ? createStoreApiKeys(store) : createSqlApiKeys(sql)
  const apiKeys = createApiKeys(kept, now, settings.apiKeyPrefix)
  return { store, ring, book, accessTokens, revocations, apiKeys, securityEvents }
}

/** The API over the parts. Its own routes and hooks use what is not in {@link SessionOperations} as well. */
export class SessionService implements SessionOperations {
  readonly #parts: ServiceParts
  readonly apiKeys: ApiKeys

  constructor(parts: ServiceParts) {
    this.#parts = parts
    this.apiKeys = parts.apiKeys
  }

  get revocationState(): Revocations['state'] {
    return this.#parts.revocations.state
  }

  async start(
    user: SessionUser,
    proof: LoginProof = {},
    request?: RequestLike,
  ): Promise<SessionGrant> {
    const grant = await this.#parts.book.start(user, proof, deviceOf(request))
    const { userId: principalId, sessionId } = grant
    const details = { method: (proof.amr ?? ['pwd']).join(' ') }
    this.#emit('sessions.login_succeeded', { principalId, sessionId, details }, request)
    return grant
  }

  async refresh(refreshToken: string, request?: RequestLike): Promise<SessionGrant> {
    const answer = await this.#parts.book.refresh(refreshToken)
    if ('grant' in answer) {
      const { grant, generation, verdict } = answer
      const { userId: principalId, sessionId } = grant
      const details = { generation, repeated: verdict === 'repeat' }
      this.#emit('sessions.refreshed', { principalId, sessionId, details }, request)
      return grant
    }
    if ('record' in answer) this.#tellReuse(answer, request)
    throw new PARAPET_SESSIONS_REFRESH_REFUSED()
  }

  async verify(accessToken: string): Promise<AccessToken> {
    const result = await this.check(accessToken)
    if (typeof result === 'string') throw new PARAPET_SESSIONS_UNAUTHENTICATED()
    return result
  }

  /**
   * What a token says, or why it is refused: for the events, never for the reply. The answer is no
   * promise while this instance knows all revocations.
   */
  check(accessToken: string): AccessToken | string | Promise<AccessToken | string> {
    const { accessTokens, revocations } = this.#parts
    const token = accessTokens.verify(accessToken)
    if (typeof token === 'string') return token
    if (revocations.isRevoked(token)) return 'revoked'
    if (revocations.state === 'pushed') return token
    return revocations.askStore(token).then((revoked) => (revoked ? 'revoked' : token))
  }

  async revoke(target: RevocationTarget, reason = 'by the service'): Promise<void> {
    const { book, revocations } = this.#parts
    if (target === 'everyone') {
      await book.endAll(null)
      this.revoked('everyone', reason)
    } else if ('tokenId' in target) {
      await revocations.add({ kind: 'token', id: requireId(target.tokenId) })
      this.revoked('token', reason)
    } else if ('sessionId' in target) {
      const sessionId = requireId(target.sessionId)
      const userId = await book.end(sessionId)
      this.revoked('session', reason, { sessionId, ...(userId && { principalId: userId }) })
    } else {
      await this.#revokeUser(target, reason)
    }
  }

  async userChanged(userId: string): Promise<void> {
    await this.#parts.book.advance(requireUserId(userId), 'tokens')
    this.revoked('access', 'the user changed', { principalId: userId })
  }

  async disableUser(userId: string): Promise<void> {
    await this.#parts.book.endAll(requireUserId(userId))
    await this.apiKeys.revokeAll(userId)
    this.revoked('user', 'the user was disabled', { principalId: userId })
  }

  list(userId: string): Promise<SessionView[]> {
    return this.#parts.book.list(requireUserId(userId))
  }

  rotateKeys(keys: KeySet): void {
    const { ring } = this.#parts
    const retiredKeyIds = [...ring.replace(keys)]
    if (retiredKeyIds.length === 0) return
    const details = { keyId: ring.currentKeyId, retiredKeyIds }
    this.#emit('sessions.key_rotated', { details })
  }

  jwks(): ReturnType<KeyRing['publish']>['body'] {
    return this.#parts.ring.publish().body
  }

  /** Tells that something was revoked. */
  revoked(
    scope: RevocationScope,
    reason: string,
    subject: SecurityEventSubject = {},
    request?: RequestLike,
  ): void {
    this.#emit('sessions.revoked', { ...subject, details: { scope, reason } }, request)
  }

  async #revokeUser(target: UserTarget, reason: string): Promise<void> {
    const { book } = this.#parts
    const { userId, exceptSessionId } = target
    if (exceptSessionId === undefined) await book.endAll(requireUserId(userId))
    else {
      const views = await this.list(userId)
      for (const { id } of views) if (id !== exceptSessionId) await book.end(id)
    }
    this.revoked('user', reason, { principalId: userId })
  }

  #tellReuse(
    { record, token, verdict }: Extract<RefreshAnswer, { readonly record: object }>,
    request: RequestLike | undefined,
  ): void {
    const { sessionId, generation } = token
    const subject = { principalId: record.user.id, sessionId }
    const details = {
      presentedGeneration: generation,
      currentGeneration: record.generation,
      storeRolledBack: verdict === 'rollback',
      startedIp: record.device.ip ?? null,
      startedUserAgent: record.device.userAgent ?? null,
    }
    this.#emit('sessions.reuse_detected', { ...subject, details }, request)
    this.revoked('session', 'a refresh token was used twice', subject, request)
  }

  #emit: SecurityEvents['emit'] = (type, fields, request) =>
    this.#parts.securityEvents.emit(type, fields, request)
}

function deviceOf(request: RequestLike | undefined): Device {
  const userAgent = request?.headers['user-agent']
  return {
    ...(request === undefined ? undefined : { ip: request.ip }),
    ...(userAgent === undefined ? undefined : { userAgent }),
  }
}

function requireId(id: string): string {
  if (isRandomId(id)) return id
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT('the id', 'is not one of a token or a session')
}

function requireUserId(id: string): string {
  if (isUserId(id)) return id
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT('the user id', 'must be 1 to 300 characters')
}
