/** Lets a user name the device of a session. */
import { conflict, retryConflicts } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { SessionContext } from './context.ts'
import { openRecord, recordKey, remainingMs, sealRecord } from './record.ts'

/** Names a session. @returns `false`: the user has no such session. */
export function nameSession(
  { store, seal, lifetimes, now }: SessionContext,
  { userId, sessionId }: { readonly userId: string; readonly sessionId: string },
  name: string,
): Promise<boolean> {
  const key = recordKey(sessionId)
  return retryConflicts<boolean>(
    async () => {
      const stored = await store.get(key)
      const record = stored === null ? null : openRecord(seal, sessionId, stored)
      const leftMs = record === null ? 0 : remainingMs(record, now(), lifetimes)
      if (record === null || record.user.id !== userId || leftMs <= 0) return false
      const text = sealRecord(seal, sessionId, { ...record, name })
      return (await store.compareAndSet(key, stored, text, leftMs)) ? true : conflict
    },
    () => new PARAPET_SESSIONS_UNAVAILABLE(),
  )
}
