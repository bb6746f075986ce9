/** Refreshes sessions: exchanges a refresh token for new tokens, and detects reuse. */
import { conflict, retryConflicts } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { birthOf, hasEnded } from '../revocation/epoch.ts'
import { MAX_GENERATION, type RefreshToken } from '../tokens/refresh-token.ts'
import type { SessionUser } from '../users/user.ts'
import { lookUpUser, type SessionContext } from './context.ts'
import { endSession } from './end-session.ts'
import { createGrant, type SessionGrant } from './grant.ts'
import { openRecord, recordKey, remainingMs, sealRecord, type SessionRecord } from './record.ts'
import { decideRefresh } from './refresh-decision.ts'
import { restoreToList } from './user-sessions.ts'

/** The result of a refresh. */
export type RefreshResult =
  | {
      readonly outcome: 'rotate' | 'repeat'
      readonly grant: SessionGrant
      readonly generation: number
    }
  /** The token was used before, so the session has been ended. */
  | {
      readonly outcome: 'reuse' | 'rollback'
      readonly record: SessionRecord
      readonly token: RefreshToken
    }
  | { readonly outcome: 'unknown' | 'expired' | 'ended' }

/**
 * Exchanges a refresh token for its successor, or ends the session if the token was used before.
 *
 * @throws PARAPET_SESSIONS_UNAVAILABLE the user lookup failed, or other refreshes of the same session
 *   won every attempt.
 */
export async function refreshSession(
  context: SessionContext,
  text: unknown,
): Promise<RefreshResult> {
  const token = context.refreshTokens.parse(text)
  if (token === null) return { outcome: 'unknown' }
  return retryConflicts<RefreshResult>(
    () => tryRefresh(context, token),
    () => new PARAPET_SESSIONS_UNAVAILABLE(),
  )
}

async function tryRefresh(
  context: SessionContext,
  token: RefreshToken,
): Promise<RefreshResult | typeof conflict> {
  const { store, seal, epochs, lifetimes, findUser, uses, now } = context
  const { sessionId } = token
  const stored = await store.get(recordKey(sessionId))
  const record = stored === null ? null : openRecord(seal, sessionId, stored)
  if (stored === null || record === null) return { outcome: 'unknown' }
  const at = now()
  const isUsed = async (): Promise<boolean> => (await uses.lastUsed(sessionId)) >= record.generation
  const decision = await decideRefresh(record, token, { at, lifetimes, isUsed })
  if (decision === 'reuse' || decision === 'rollback') {
    await endSession(context, sessionId)
    return { outcome: decision, record, token }
  }
  const pair = await epochs.read(record.user.id)
  const isOver = decision === 'expired' || hasEnded(sessionId, record.born, pair)
  const user =
    isOver || findUser === undefined ? record.user : await lookUpUser(findUser, record.user.id)
  const isLost = isOver || user === null || !(await mayContinue(context, record, user))
  if (isLost || user === null || record.generation >= MAX_GENERATION) {
    await endSession(context, sessionId)
    return { outcome: isOver ? 'expired' : 'ended' }
  }
  const isRepeat = decision === 'repeat'
  const next: SessionRecord = isRepeat
    ? { ...record, user }
    : {
        ...record,
        user,
        born: birthOf(pair),
        generation: record.generation + 1,
        rotatedAt: at,
      }
  if (!isRepeat) {
    const ttlMs = remainingMs(next, at, lifetimes)
    const text = sealRecord(seal, sessionId, next)
    const won = await store.compareAndSet(recordKey(sessionId), stored, text, ttlMs)
    if (!won) return conflict
    await restoreToList(context, user.id, sessionId)
  }
  const grant = await createGrant(context, sessionId, next, pair)
  // An elevation, a logout or a revocation at the same moment has ended these tokens already.
  if (!(await isLive(context, sessionId, next))) return { outcome: 'ended' }
  return { outcome: decision, grant, generation: next.generation }
}

/** Whether the operator who acts as the user, if there is one, may still do so. */
async function mayContinue(
  { findUser, mayImpersonate }: SessionContext,
  { actor }: SessionRecord,
  user: SessionUser,
): Promise<boolean> {
  if (actor === undefined) return true
  const operator = findUser === undefined ? null : await lookUpUser(findUser, actor.id)
  return operator !== null && mayImpersonate(operator, user)
}

/** Whether a session has its record and has not ended by an epoch. */
async function isLive(
  { store, epochs }: SessionContext,
  sessionId: string,
  { user, born }: SessionRecord,
): Promise<boolean> {
  const [stored, pair] = await Promise.all([store.get(recordKey(sessionId)), epochs.read(user.id)])
  return stored !== null && !hasEnded(sessionId, born, pair)
}
