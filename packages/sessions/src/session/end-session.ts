/** Ends sessions: one, all of a user, or all of the fleet. */
import { hasEnded } from '../revocation/epoch.ts'
import type { SessionContext } from './context.ts'
import { listSessions } from './list-sessions.ts'
import { removeOrigin } from './provider-session.ts'
import { openRecord, recordKey, userSessionsKey } from './record.ts'
import { readList } from './user-sessions.ts'

/** A session that has just ended. */
export interface EndedSession {
  readonly sessionId: string
  readonly userId: string
}

/**
 * Ends one session. Its access tokens are revoked, and deleting the record makes every refresh token
 * of the session invalid in one step.
 *
 * @returns `null` if the session had ended before, or its record was not written by this service.
 */
export async function endSession(
  { revocations, seal, store }: SessionContext,
  sessionId: string,
): Promise<EndedSession | null> {
  await revocations.add({ kind: 'session', id: sessionId })
  const stored = await store.getAndDelete(recordKey(sessionId))
  const record = stored === null ? null : openRecord(seal, sessionId, stored)
  if (record === null) return null
  const { id: userId } = record.user
  if (record.origin !== undefined) await removeOrigin({ store }, sessionId, record.origin)
  await store.removeMember(userSessionsKey(userId), sessionId)
  return { sessionId, userId }
}

/** Ends the session of a genuine refresh token of any generation. */
export async function endSessionByRefreshToken(
  context: SessionContext,
  text: unknown,
): Promise<EndedSession | null> {
  const token = context.refreshTokens.parse(text)
  return token === null ? null : endSession(context, token.sessionId)
}

/** Ends all sessions of a user; `null`: all sessions of the fleet. */
export async function endAllSessions(
  context: SessionContext,
  userId: string | null,
): Promise<void> {
  await startEpoch(context, userId, 'sessions')
  // Only the ended sessions leave the list: a login at the same time may have added its session.
  if (userId !== null) await listSessions(context, userId)
}

/** Ends all sessions of a user but one, also those that are not in the list. */
export async function endOtherSessions(
  context: SessionContext,
  userId: string,
  keptId: string,
): Promise<void> {
  const { ids, isComplete } = await readList(context, userId)
  await context.epochs.advance(userId, { others: keptId })
  // The store lost the list: access tokens of unknown sessions end only with those of the kept one,
  // which gets new ones by a refresh.
  if (!isComplete || !ids.includes(keptId)) await endAccessTokens(context, userId)
  // The epoch ends the sessions, but not the access tokens: the kept session shares their epoch.
  for (const id of ids) {
    const stored = id === keptId ? null : await context.store.get(recordKey(id))
    if (stored !== null && (await isOver(context, id, stored))) await endSession(context, id)
  }
}

async function isOver(
  { epochs, seal }: SessionContext,
  sessionId: string,
  stored: string,
): Promise<boolean> {
  const record = openRecord(seal, sessionId, stored)
  if (record === null) return true
  return hasEnded(sessionId, record.born, await epochs.read(record.user.id))
}

/** Revokes the access tokens of a user; the sessions continue and can be refreshed. */
export function endAccessTokens(context: SessionContext, userId: string): Promise<void> {
  return startEpoch(context, userId, 'tokens')
}

async function startEpoch(
  { epochs, revocations }: SessionContext,
  userId: string | null,
  ends: 'tokens' | 'sessions',
): Promise<void> {
  const epoch = await epochs.advance(userId, ends)
  await revocations.add(
    userId === null ? { kind: 'fleet', epoch } : { kind: 'user', id: userId, epoch },
  )
}
