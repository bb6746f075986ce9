/** Starts sessions. */
import { conflict, retryConflicts } from '@parapet/kit'
import { PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { birthOf, hasEnded } from '../revocation/epoch.ts'
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
import type { SessionOrigin } from '../users/session-origin.ts'
import { addOrigin, hasLoggedOut } from './provider-session.ts'
import { addToList } from './user-sessions.ts'
import {
  recordKey,
  remainingMs,
  sealRecord,
  type SessionActor,
  type SessionRecord,
} from './record.ts'

/** Where a session came from. */
interface SessionCause {
  /** An operator who acts as the user. */
  readonly actor?: SessionActor
  readonly origin?: SessionOrigin | undefined
}

const MAX_AGENT_LENGTH = 200

/**
 * Starts a session. If the user then has too many, those that were used least recently end.
 *
 * @param cause where it came from, if not from a login of the user here.
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT, PARAPET_SESSIONS_TOKEN_TOO_LARGE,
 *   PARAPET_SESSIONS_ACCOUNT_LOCKED, PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED
 */
export async function startSession(
  context: SessionContext,
  given: SessionUser,
  givenProof: LoginProof = {},
  device: Device = {},
  { actor, origin }: SessionCause = {},
): Promise<SessionGrant> {
  const user = requireUser(given)
  const at = context.now()
  const by = {
    ...(actor === undefined ? undefined : { actor }),
    ...(origin === undefined ? undefined : { origin }),
  }
  const started = { user, proof: requireProof(givenProof, at), startedAt: at, ...by }
  return retryConflicts(
    () => tryStart(context, { ...started, device: shortened(device) }),
    () => new PARAPET_SESSIONS_UNAVAILABLE(),
  )
}

async function tryStart(
  context: SessionContext,
  started: Pick<SessionRecord, 'user' | 'proof' | 'startedAt' | 'device' | 'actor' | 'origin'>,
): Promise<SessionGrant | typeof conflict> {
  const { store, seal, epochs, lifetimes, maxSessionsPerUser, now } = context
  const userId = started.user.id
  const sessionId = randomId()
  const pair = await epochs.open(userId)
  // After the epoch was read: a lock writes the state first and then advances the epoch, so one of the two
  // ends this session.
  const { isFactorDue } = await context.gate.requireEntry(userId, started.proof)
  const at = now()
  const record: SessionRecord = {
    ...started,
    born: birthOf(pair),
    generation: 0,
    rotatedAt: at,
    ...(isFactorDue && started.actor === undefined ? { isFactorDue } : undefined),
  }
  // Issued before anything is stored: a user with too many roles must not leave a session behind.
  const grant = await createGrant(context, sessionId, record, pair)
  const text = sealRecord(seal, sessionId, record)
  await store.set(recordKey(sessionId), text, remainingMs(record, at, lifetimes))
  const { size } = await addToList(context, userId, sessionId)
  if (record.origin !== undefined) {
    await addOrigin(context, sessionId, record.origin)
    // After it is in the list: a logout is remembered first and then reads the list.
    if (await hasLoggedOut(context, record.origin)) {
      await endSession(context, sessionId)
      throw new PARAPET_SESSIONS_SSO_REFUSED()
    }
  }
  // All sessions of the user were ended while this one started: start it again under the new epoch.
  if (hasEnded(sessionId, record.born, await epochs.read(userId))) {
    await endSession(context, sessionId)
    return conflict
  }
  if (size > maxSessionsPerUser) {
    const views = await listSessions(context, userId)
    for (const { id } of views.slice(maxSessionsPerUser)) await endSession(context, id)
  }
  return grant
}

function shortened({ ip, userAgent, place }: Device): Device {
  // Made well-formed after the cut as well, because it may split a surrogate pair.
  const agent = userAgent?.toWellFormed().slice(0, MAX_AGENT_LENGTH).toWellFormed()
  return {
    ...(ip === undefined ? undefined : { ip }),
    ...(agent === undefined ? undefined : { userAgent: agent }),
    ...(place === undefined ? undefined : { place }),
  }
}
