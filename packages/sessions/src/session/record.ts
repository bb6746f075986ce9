/** The stored record of a session, and its lifetimes. It contains nothing that works as a credential. */
import type { TokenEpochs } from '../revocation/epoch.ts'
import type { RecordSeal } from '../secrets/record-seal.ts'
import type { Device, SessionProof, SessionUser } from '../users/user.ts'

/** One session as it is stored. */
export interface SessionRecord {
  readonly user: SessionUser
  readonly proof: SessionProof
  /** The epochs at the start of the session, or at its last rotation. */
  readonly born: TokenEpochs
  readonly startedAt: number
  /** The number of rotations. */
  readonly generation: number
  /** The time of the last rotation, or of the start. */
  readonly rotatedAt: number
  readonly device: Device
}

/** The durations of a session, in milliseconds. */
export interface SessionLifetimes {
  readonly refreshIdleMs: number
  readonly refreshAbsoluteMs: number
  readonly refreshGraceMs: number
}

/** How long a session stays valid without another refresh, in milliseconds; 0 or less: it has expired. */
export function remainingMs(
  { startedAt, rotatedAt }: SessionRecord,
  now: number,
  { refreshIdleMs, refreshAbsoluteMs }: SessionLifetimes,
): number {
  return Math.min(rotatedAt + refreshIdleMs, startedAt + refreshAbsoluteMs) - now
}

/** The key of a session's record in the store. */
export function recordKey(sessionId: string): string {
  return `sessions:session:${sessionId}`
}

/** The key of the set of a user's session ids in the store. */
export function userSessionsKey(userId: string): string {
  return `sessions:of:${userId}`
}

interface StoredRecord {
  readonly u: [string, readonly string[], readonly string[] | null, string | null]
  /** The third member is absent in records of older versions. */
  readonly p: [readonly string[], number, (string | null)?]
  readonly b: [number, number]
  readonly s: number
  readonly g: number
  readonly r: number
  readonly d: [string | null, string | null]
}

/** Writes a sealed record. The names are short because there is one record for each session. */
export function sealRecord(seal: RecordSeal, sessionId: string, record: SessionRecord): string {
  const { user, proof, born, startedAt, generation, rotatedAt, device } = record
  const json = JSON.stringify({
    u: [user.id, user.roles, user.permissions ?? null, user.tenantId ?? null],
    p: [proof.amr, proof.authenticatedAt, proof.acr ?? null],
    b: [born.user, born.fleet],
    s: startedAt,
    g: generation,
    r: rotatedAt,
    d: [device.ip ?? null, device.userAgent ?? null],
  } satisfies StoredRecord)
  return seal.seal('session', sessionId, json)
}

/**
 * Reads the text that {@link sealRecord} wrote. Its form is not checked, because the seal shows that the
 * service wrote it.
 *
 * @returns `null`: the record is not sealed for this session, as if there were none.
 */
export function openRecord(
  seal: RecordSeal,
  sessionId: string,
  text: string,
): SessionRecord | null {
  const json = seal.open('session', sessionId, text)
  if (json === null) return null
  const { u, p, b, s, g, r, d } = JSON.parse(json) as StoredRecord
  const [id, roles, permissions, tenantId] = u
  const [ip, userAgent] = d
  return {
    user: {
      id,
      roles,
      ...(permissions === null ? undefined : { permissions }),
      ...(tenantId === null ? undefined : { tenantId }),
    },
    proof: {
      amr: p[0],
      authenticatedAt: p[1],
      ...(typeof p[2] === 'string' ? { acr: p[2] } : undefined),
    },
    born: { user: b[0], fleet: b[1] },
    startedAt: s,
    generation: g,
    rotatedAt: r,
    device: {
      ...(ip === null ? undefined : { ip }),
      ...(userAgent === null ? undefined : { userAgent }),
    },
  }
}
