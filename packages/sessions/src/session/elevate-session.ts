/**
 * Gives a session new tokens at a higher level. It continues under a new id, and every token of the old
 * id is invalid, so that a token which was stolen before the proof gains nothing from it.
 *
 * @see OWASP Session Management Cheat Sheet, Renew the Session ID After Any Privilege Level Change
 */
import { conflict, retryConflicts } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { birthOf, hasEnded, type EpochPair } from '../revocation/epoch.ts'
import { randomId } from '../secrets/random-id.ts'
import { joinProofs, type ShownFactor } from '../users/shown-factor.ts'
import { lookUpUser, type SessionContext } from './context.ts'
import { endSession } from './end-session.ts'
import { createGrant, type SessionGrant } from './grant.ts'
import { addToList } from './user-sessions.ts'
import {
  openRecord,
  recordKey,
  remainingMs,
  sealRecord,
  userSessionsKey,
  type SessionRecord,
} from './record.ts'

/**
 * Elevates a session; `null`: it has ended.
 *
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_TOKEN_TOO_LARGE,
 *   PARAPET_SESSIONS_UNAVAILABLE, and what `shown.bind` throws. The session is unchanged then.
 */
export function elevateSession(
  context: SessionContext,
  sessionId: string,
  shown: ShownFactor,
): Promise<SessionGrant | null> {
  return retryConflicts<SessionGrant | null>(
    () => tryElevate(context, sessionId, shown),
    () => new PARAPET_SESSIONS_UNAVAILABLE(),
  )
}

async function tryElevate(
  context: SessionContext,
  oldId: string,
  shown: ShownFactor,
): Promise<SessionGrant | null | typeof conflict> {
  const { store, seal, epochs, lifetimes, findUser, now } = context
  const stored = await store.get(recordKey(oldId))
  const record = stored === null ? null : openRecord(seal, oldId, stored)
  if (stored === null || record === null) return null
  const pair = await epochs.read(record.user.id)
  const at = now()
  if (remainingMs(record, at, lifetimes) <= 0 || hasEnded(oldId, record.born, pair)) return null
  const user = findUser === undefined ? record.user : await lookUpUser(findUser, record.user.id)
  if (user === null) {
    await endSession(context, oldId)
    return null
  }
  const proof = joinProofs(record.proof, shown, at)
  const next = { ...record, user, proof, born: birthOf(pair), generation: 0, rotatedAt: at }
  return replace(context, { oldId, stored, next, pair }, shown)
}

interface Replacement {
  readonly oldId: string
  /** The text of the old record. */
  readonly stored: string
  readonly next: SessionRecord
  readonly pair: EpochPair
}

async function replace(
  context: SessionContext,
  { oldId, stored, next, pair }: Replacement,
  shown: ShownFactor,
): Promise<SessionGrant | null | typeof conflict> {
  const { store, seal, epochs, lifetimes, revocations } = context
  const { id: userId } = next.user
  const newId = randomId()
  const grant = await createGrant(context, newId, next, pair)
  const ttlMs = remainingMs(next, next.rotatedAt, lifetimes)
  await store.set(recordKey(newId), sealRecord(seal, newId, next), ttlMs)
  await addToList(context, userId, newId)
  try {
    await shown.bind?.(newId)
  } catch (error) {
    await endSession(context, newId)
    throw error
  }
  // Only now, so that a failure above leaves the old session as it is.
  if (!(await store.compareAndSet(recordKey(oldId), stored, null, ttlMs))) {
    await endSession(context, newId)
    return conflict
  }
  await revocations.add({ kind: 'session', id: oldId })
  await store.removeMember(userSessionsKey(userId), oldId)
  // The sessions of the user were ended meanwhile.
  if (!hasEnded(newId, next.born, await epochs.read(userId))) return grant
  await endSession(context, newId)
  return null
}
