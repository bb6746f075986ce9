/** Starts sessions. */
import { tokenEpochsOf } from '../revocation/epochs.ts'
import { randomId } from '../secrets/random-id.ts'
import {
  requireProof,
  requireUser,
  type Device,
  type LoginProof,
  type SessionUser,
} from '../users/user.ts'
import type { SessionContext } from './context.ts'
import { endSession } from './end-session.ts'
import { createGrant, type SessionGrant } from './grant.ts'
import { listSessions } from './list-sessions.ts'
import {
  formatRecord,
  recordKey,
  remainingMs,
  userSessionsKey,
  type SessionRecord,
} from './record.ts'

/** Capacity of a user's set beyond the limit: for expired sessions that are not removed yet. */
const MEMBER_SLACK = 1000
const MAX_AGENT_LENGTH = 200

/**
 * Starts a session. If the user then has too many, those that were used least recently end.
 *
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_TOKEN_TOO_LARGE
 */
export async function startSession(
  context: SessionContext,
  given: SessionUser,
  proof: LoginProof = {},
  device: Device = {},
): Promise<SessionGrant> {
  const { store, lifetimes, maxSessionsPerUser, epochs, now } = context
  const user = requireUser(given)
  const at = now()
  const sessionId = randomId()
  const pair = await epochs.read(user.id)
  const record: SessionRecord = {
    user,
    proof: requireProof(proof, at),
    born: tokenEpochsOf(pair),
    startedAt: at,
    generation: 0,
    rotatedAt: at,
    device: shortened(device),
  }
  // Issued before anything is stored: a user with too many roles must not leave a session behind.
  const grant = await createGrant(context, sessionId, record, pair)
  await store.set(recordKey(sessionId), formatRecord(record), remainingMs(record, at, lifetimes))
  const { size } = await store.addMember(userSessionsKey(user.id), sessionId, {
    ttlMs: lifetimes.refreshAbsoluteMs,
    maxMembers: maxSessionsPerUser + MEMBER_SLACK,
  })
  if (size > maxSessionsPerUser) {
    const views = await listSessions(context, user.id)
    for (const { id } of views.slice(maxSessionsPerUser)) await endSession(context, id)
  }
  return grant
}

function shortened({ ip, userAgent }: Device): Device {
  // Made well-formed after the cut as well, because it may split a surrogate pair.
  const agent = userAgent?.toWellFormed().slice(0, MAX_AGENT_LENGTH).toWellFormed()
  return {
    ...(ip === undefined ? undefined : { ip }),
    ...(agent === undefined ? undefined : { userAgent: agent }),
  }
}
