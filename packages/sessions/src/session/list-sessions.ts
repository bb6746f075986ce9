/** Lists the sessions of a user. */
import { hasEnded } from '../revocation/epoch.ts'
import { deviceLabel } from '../users/device-label.ts'
import type { Device } from '../users/user.ts'
import type { SessionContext } from './context.ts'
import { readList } from './user-sessions.ts'
import {
  openRecord,
  recordKey,
  remainingMs,
  userSessionsKey,
  type SessionRecord,
} from './record.ts'

/** One session as its user sees it. Times are milliseconds since the Unix epoch. */
export interface SessionView extends Device {
  readonly id: string
  readonly startedAt: number
  /** The time of the last refresh, or of the login. */
  readonly lastSeenAt: number
  readonly expiresAt: number
  readonly amr: readonly string[]
  /** What kind of device it is: `Firefox on Linux`. */
  readonly label: string
  /** What the user calls it. */
  readonly name?: string
  /** The operator who acts as the user in this session. */
  readonly actorId?: string
}

/** The active sessions of a user, the most recently used first. */
export async function listSessions(
  context: SessionContext,
  userId: string,
): Promise<SessionView[]> {
  const { store, seal, epochs, lifetimes, now } = context
  const { ids } = await readList(context, userId)
  const pair = await epochs.read(userId)
  const texts = await Promise.all(ids.map((id) => store.get(recordKey(id))))
  const at = now()
  const views: SessionView[] = []
  for (const [index, text] of texts.entries()) {
    const id = ids[index]!
    const record = text === null ? null : openRecord(seal, id, text)
    const leftMs = record === null ? 0 : remainingMs(record, at, lifetimes)
    if (record !== null && leftMs > 0 && !hasEnded(id, record.born, pair)) {
      views.push(viewOf(id, record, at + leftMs))
    } else await store.removeMember(userSessionsKey(userId), id)
  }
  return views.toSorted((a, b) => b.lastSeenAt - a.lastSeenAt)
}

/** The id of the user of a session; `null` if there is no such session. */
export async function ownerOfSession(
  { store, seal }: SessionContext,
  sessionId: string,
): Promise<string | null> {
  const stored = await store.get(recordKey(sessionId))
  const record = stored === null ? null : openRecord(seal, sessionId, stored)
  return record === null ? null : record.user.id
}

function viewOf(id: string, record: SessionRecord, expiresAt: number): SessionView {
  return Object.freeze({
    id,
    startedAt: record.startedAt,
    lastSeenAt: record.rotatedAt,
    expiresAt,
    amr: record.proof.amr,
    label: deviceLabel(record.device.userAgent),
    ...record.device,
    ...(record.name === undefined ? undefined : { name: record.name }),
    ...(record.actor === undefined ? undefined : { actorId: record.actor.id }),
  })
}
