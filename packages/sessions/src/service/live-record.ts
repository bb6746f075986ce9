/** Reads the record of a session. */
import { hasEnded } from '../revocation/epoch.ts'
import type { SessionContext } from '../session/context.ts'
import { openRecord, recordKey, remainingMs, type SessionRecord } from '../session/record.ts'

/** The record of a session, also of one that has expired; `null`: there is none. */
export async function readRecord(
  { store, seal }: SessionContext,
  sessionId: string,
): Promise<SessionRecord | null> {
  const stored = await store.get(recordKey(sessionId))
  return stored === null ? null : openRecord(seal, sessionId, stored)
}

/** The record of a session in which its user acts now; `null`: it has ended, or an operator acts in it. */
export async function readLiveRecord(
  context: SessionContext,
  sessionId: string,
): Promise<SessionRecord | null> {
  const record = await readRecord(context, sessionId)
  if (record === null || record.actor !== undefined) return null
  if (remainingMs(record, context.now(), context.lifetimes) <= 0) return null
  const pair = await context.epochs.read(record.user.id)
  return hasEnded(sessionId, record.born, pair) ? null : record
}
