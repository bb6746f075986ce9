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
import { isTwoFactors } from '../accounts/gate.ts'
import type { SessionOrigin } from '../users/session-origin.ts'
import { joinProofs, type ShownFactor } from '../users/shown-factor.ts'
import { lookUpUser, type SessionContext } from './context.ts'
import { endSession } from './end-session.ts'
import { createGrant, type SessionGrant } from './grant.ts'
import { addOrigin, removeOrigin } from './provider-session.ts'
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
 * @param origin the login at a provider that showed the factor: its session ends this one from now on.
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_TOKEN_TOO_LARGE,
 *   PARAPET_SESSIONS_UNAVAILABLE, and what `shown.bind` throws. The session is unchanged then.
 */
export function elevateSession(
  context: SessionContext,
  sessionId: string,
  shown: ShownFactor,
  origin?: SessionOrigin,
): Promise<SessionGrant | null> {
  return retryConflicts<SessionGrant | null>(
    () => tryElevate(context, sessionId, shown, origin),
    () => new PARAPET_SESSIONS_UNAVAILABLE(),
  )
}

async function tryElevate(
  context: SessionContext,
  oldId: string,
  shown: ShownFactor,
  origin: SessionOrigin | undefined,
): Promise<SessionGrant | null | typeof conflict> {
  const { store, seal, epochs, lifetimes, findUser, now } = context
  const stored = await store.get(recordKey(oldId))
  const record = stored === null ? null : openRecord(seal, oldId, stored)
  if (stored === null || record === null) return null
  // An operator must not show factors for the user.
  if (record.actor !== undefined) return null
  const pair = await epochs.read(record.user.id)
  const at = now()
  if (remainingMs(record, at, lifetimes) <= 0 || hasEnded(oldId, record.born, pair)) return null
  const user = findUser === undefined ? record.user : await lookUpUser(findUser, record.user.id)
  if (user === null) {
    await endSession(context, oldId)
    return null
  }
  const proof = joinProofs(record.proof, shown, at)
  const { isFactorDue: wasDue, ...kept } = record
  const isDue = wasDue === true && !isTwoFactors(proof)
  const next: SessionRecord = {
    ...kept,
    user,
    proof,
    born: birthOf(pair),
    generation: 0,
    rotatedAt: at,
    ...(origin === undefined ? undefined : { origin }),
    ...(isDue ? { isFactorDue: true } : undefined),
  }
  return replace(context, { oldId, stored, next, pair, formerOrigin: record.origin }, shown)
}

interface Replacement {
  readonly oldId: string
  /** The text of the old record. */
  readonly stored: string
  readonly next: SessionRecord
  readonly pair: EpochPair
  readonly formerOrigin: SessionOrigin | undefined
}

async function replace(
  context: SessionContext,
  { oldId, stored, next, pair, formerOrigin }: Replacement,
  shown: ShownFactor,
): Promise<SessionGrant | null | typeof conflict> {
  const { store, seal, epochs, lifetimes, revocations } = context
  const { id: userId } = next.user
  const newId = randomId()
  const grant = await createGrant(context, newId, next, pair)
  const ttlMs = remainingMs(next, next.rotatedAt, lifetimes)
  await store.set(recordKey(newId), sealRecord(seal, newId, next), ttlMs)
  await addToList(context, userId, newId)
  if (next.origin !== undefined) await addOrigin(context, newId, next.origin)
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
  if (formerOrigin !== undefined) await removeOrigin(context, oldId, formerOrigin)
  // The sessions of the user were ended meanwhile.
  if (!hasEnded(newId, next.born, await epochs.read(userId))) return grant
  await endSession(context, newId)
  return null
}
