/** Implements the operations at `app.sessions`, and emits a security event for each change. */
import { requestSource, type SecurityEvents } from '@parapet/kit'
import type { ApiKeys } from '../api-keys/api-keys.ts'
import {
  PARAPET_SESSIONS_INVALID_ARGUMENT,
  PARAPET_SESSIONS_REFRESH_REFUSED,
  PARAPET_SESSIONS_UNAUTHENTICATED,
} from '../errors.ts'
import type { PublishedKey } from '../keys/jwk.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import type { KeySet } from '../keys/read-key.ts'
import { hashQueue, type HashingState } from '../passwords/hash-queue.ts'
import type { EndedListener, EndedListeners } from '../revocation/ended-access.ts'
import type { RevocationList } from '../revocation/revocation-list.ts'
import { isRandomId } from '../secrets/random-id.ts'
import type { SessionContext } from '../session/context.ts'
import { elevateSession } from '../session/elevate-session.ts'
import {
  endAccessTokens,
  endAllSessions,
  endOtherSessions,
  endSession,
} from '../session/end-session.ts'
import type { SessionGrant } from '../session/grant.ts'
import { endImpersonationsBy } from '../session/impersonations.ts'
import { listSessions, type SessionView } from '../session/list-sessions.ts'
import { nameSession } from '../session/name-session.ts'
import type { SessionOrigin } from '../users/session-origin.ts'
import { refreshSession, type RefreshResult } from '../session/refresh-session.ts'
import { startSession } from '../session/start-session.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import { describeValue } from '../users/describe-value.ts'
import { isName } from '../users/names.ts'
import type { RequestLike } from '../users/request-like.ts'
import type { ShownFactor } from '../users/shown-factor.ts'
import { requireUserId, type LoginProof, type SessionUser } from '../users/user.ts'
import type { Authenticator } from './authenticator.ts'
import type { DeviceWatch } from './device-watch.ts'
import { emitEnded, emitRevoked } from './emit-revoked.ts'
import type { RevocationTarget, SessionOperations, UserTarget } from './operations.ts'
import { createReportedApiKeys } from './reported-api-keys.ts'

/** What a {@link SessionService} needs. */
export interface SessionServiceSettings {
  readonly context: SessionContext
  readonly ring: KeyRing
  readonly authenticator: Authenticator
  readonly apiKeys: ApiKeys
  readonly endedListeners: EndedListeners
  readonly deviceWatch: DeviceWatch
  readonly securityEvents: SecurityEvents
  /** Forgets the links that were sent to a user, with their addresses. */
  readonly clearLinks: (userId: string) => Promise<void>
}

/** The implementation of {@link SessionOperations}. */
export class SessionService implements SessionOperations {
  readonly #settings: SessionServiceSettings
  readonly apiKeys: ApiKeys

  constructor(settings: SessionServiceSettings) {
    this.#settings = settings
    this.apiKeys = createReportedApiKeys(settings.apiKeys, settings.securityEvents)
  }

  get revocationState(): RevocationList['state'] {
    return this.#settings.context.revocations.state
  }

  async start(
    user: SessionUser,
    proof: LoginProof = {},
    request?: RequestLike,
    origin?: SessionOrigin,
  ): Promise<SessionGrant> {
    const { context, securityEvents, deviceWatch } = this.#settings
    const device = request === undefined ? {} : await deviceWatch.locate(requestSource(request))
    const grant = await startSession(context, user, proof, device, { origin })
    const { userId: principalId, sessionId } = grant
    const details = { method: (proof.amr ?? ['pwd']).join(' ') }
    const fields = { principalId, sessionId, details }
    securityEvents.emit('sessions.login_succeeded', fields, request)
    if (request !== undefined) await deviceWatch.note(grant, device, request)
    return grant
  }

  async refresh(refreshToken: string, request?: RequestLike): Promise<SessionGrant> {
    const { context, securityEvents } = this.#settings
    const result = await refreshSession(context, refreshToken)
    if ('grant' in result) {
      const { grant, generation, outcome } = result
      const { userId: principalId, sessionId } = grant
      const details = { generation, repeated: outcome === 'repeat' }
      const fields = { principalId, sessionId, details }
      securityEvents.emit('sessions.refreshed', fields, request)
      return grant
    }
    if ('record' in result) this.#emitReuse(result, request)
    throw new PARAPET_SESSIONS_REFRESH_REFUSED()
  }

  async elevate(
    sessionId: string,
    shown: ShownFactor,
    request?: RequestLike,
  ): Promise<SessionGrant> {
    const { context, securityEvents } = this.#settings
    const grant = await elevateSession(context, requireId('sessionId', sessionId), shown)
    if (grant === null) throw new PARAPET_SESSIONS_UNAUTHENTICATED()
    const details = { method: shown.amr.join(' '), previousSessionId: sessionId }
    const fields = { principalId: grant.userId, sessionId: grant.sessionId, details }
    securityEvents.emit('sessions.elevated', fields, request)
    return grant
  }

  onEnded(listener: EndedListener): () => void {
    return this.#settings.endedListeners.on(listener)
  }

  get hashing(): HashingState {
    return hashQueue.state
  }

  async verify(accessToken: string): Promise<AccessToken> {
    const result = await this.#settings.authenticator.checkToken(accessToken)
    if (typeof result === 'string') throw new PARAPET_SESSIONS_UNAUTHENTICATED()
    return result
  }

  async revoke(target: RevocationTarget, reason = 'by the service'): Promise<void> {
    const { context, securityEvents } = this.#settings
    if (target === 'everyone') {
      await endAllSessions(context, null)
      emitRevoked(securityEvents, 'everyone', reason)
    } else if ('tokenId' in target) {
      const id = requireId('tokenId', target.tokenId)
      await context.revocations.add({ kind: 'token', id })
      emitRevoked(securityEvents, 'token', reason)
    } else if ('sessionId' in target) {
      const sessionId = requireId('sessionId', target.sessionId)
      const ended = await endSession(context, sessionId)
      if (ended === null) emitRevoked(securityEvents, 'session', reason, { sessionId })
      else emitEnded(securityEvents, ended, reason)
    } else {
      await this.#revokeUser(target, reason)
    }
  }

  async userChanged(userId: string): Promise<void> {
    const { context, securityEvents } = this.#settings
    await endAccessTokens(context, requireUserId(userId))
    emitRevoked(securityEvents, 'access', 'the user changed', { principalId: userId })
  }

  async disableUser(userId: string): Promise<void> {
    const { context, securityEvents, apiKeys, clearLinks } = this.#settings
    await endAllSessions(context, requireUserId(userId))
    await this.#endImpersonations(userId)
    await apiKeys.revokeAll(userId)
    await clearLinks(userId)
    emitRevoked(securityEvents, 'user', 'the user was disabled', { principalId: userId })
  }

  list(userId: string): Promise<SessionView[]> {
    return listSessions(this.#settings.context, requireUserId(userId))
  }

  async nameDevice(userId: string, sessionId: string, name: string): Promise<boolean> {
    if (!isName(name, MAX_DEVICE_NAME)) {
      const expected = `a string of 1 to ${MAX_DEVICE_NAME} characters`
      throw new PARAPET_SESSIONS_INVALID_ARGUMENT('name', expected, describeValue(name))
    }
    const ids = { userId: requireUserId(userId), sessionId: requireId('sessionId', sessionId) }
    return nameSession(this.#settings.context, ids, name)
  }

  rotateKeys(keys: KeySet): void {
    const { ring, securityEvents } = this.#settings
    const retiredKeyId = ring.rotate(keys)
    if (retiredKeyId === null) return
    const details = { keyId: ring.currentKeyId, retiredKeyIds: [retiredKeyId] }
    securityEvents.emit('sessions.key_rotated', { details })
  }

  jwks(): { readonly keys: readonly PublishedKey[] } {
    return { keys: this.#settings.ring.publish() }
  }

  async #revokeUser(target: UserTarget, reason: string): Promise<void> {
    const { context, securityEvents, apiKeys } = this.#settings
    const { exceptSessionId, keepApiKeys = exceptSessionId !== undefined } = target
    const userId = requireUserId(target.userId)
    if (exceptSessionId === undefined) await endAllSessions(context, userId)
    else await endOtherSessions(context, userId, requireId('exceptSessionId', exceptSessionId))
    // Also of a user who keeps one session: the others may have begun them.
    await this.#endImpersonations(userId)
    if (!keepApiKeys) await apiKeys.revokeAll(userId)
    emitRevoked(securityEvents, 'user', reason, { principalId: userId })
  }

  /** The sessions in which the user acts as others are not of this user, so its epoch does not end them. */
  async #endImpersonations(operatorId: string): Promise<void> {
    const { context, securityEvents } = this.#settings
    for (const ended of await endImpersonationsBy(context, operatorId)) {
      emitEnded(securityEvents, ended, 'the access of the operator ended')
    }
  }

  #emitReuse(
    { record, token, outcome }: Extract<RefreshResult, { readonly record: object }>,
    request: RequestLike | undefined,
  ): void {
    const { securityEvents } = this.#settings
    const { sessionId, generation } = token
    const ended = { sessionId, userId: record.user.id }
    const details = {
      presentedGeneration: generation,
      currentGeneration: record.generation,
      storeRolledBack: outcome === 'rollback',
      startedIp: record.device.ip ?? null,
      startedUserAgent: record.device.userAgent ?? null,
    }
    const fields = { principalId: ended.userId, sessionId, details }
    securityEvents.emit('sessions.reuse_detected', fields, request)
    emitEnded(securityEvents, ended, 'a refresh token was used twice', request)
  }
}

const MAX_DEVICE_NAME = 64

function requireId(name: string, id: string): string {
  if (isRandomId(id)) return id
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT(
    name,
    'an id of 22 base64url characters',
    describeValue(id),
  )
}
