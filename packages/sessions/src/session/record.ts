/** The stored record of a session, and its lifetimes. It contains nothing that works as a credential. */
import type { TokenEpochs } from '../revocation/epoch.ts'
import type { RecordSeal } from '../secrets/record-seal.ts'
import type { SessionOrigin } from '../users/session-origin.ts'
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
  /** What the user calls the device. */
  readonly name?: string
  /** An operator acts as the user, until `endsAt`. */
  readonly actor?: SessionActor
  /** The account needs a second factor and has not shown one in this session. */
  readonly isFactorDue?: boolean
  /** The login at an identity provider from which it came. */
  readonly origin?: SessionOrigin
}

/** Who acts as the user of a session. */
export interface SessionActor {
  readonly id: string
  /** Milliseconds since the Unix epoch. */
  readonly endsAt: number
}

/** The durations of a session, in milliseconds. */
export interface SessionLifetimes {
  readonly refreshIdleMs: number
  readonly refreshAbsoluteMs: number
  readonly refreshGraceMs: number
}

/** How long a session stays valid without another refresh, in milliseconds; 0 or less: it has expired. */
export function remainingMs(
  { startedAt, rotatedAt, actor }: SessionRecord,
  now: number,
  { refreshIdleMs, refreshAbsoluteMs }: SessionLifetimes,
): number {
  const end = actor === undefined ? Infinity : actor.endsAt
  return Math.min(rotatedAt + refreshIdleMs, startedAt + refreshAbsoluteMs, end) - now
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
  /** The last member is absent in records without a place. */
  readonly d: [string | null, string | null, string?]
  readonly n?: string
  readonly a?: [id: string, endsAt: number]
  readonly f?: 1
  readonly o?: readonly [provider: string, subject: string, sid: string | null, issuedAt: number]
}

/** Writes a sealed record. The names are short because there is one record for each session. */
export function sealRecord(seal: RecordSeal, sessionId: string, record: SessionRecord): string {
  const { user, proof, born, startedAt, generation, rotatedAt, device, name, actor, origin } =
    record
  const { ip = null, userAgent = null, place } = device
  const json = JSON.stringify({
    u: [user.id, user.roles, user.permissions ?? null, user.tenantId ?? null],
    p: [proof.amr, proof.authenticatedAt, proof.acr ?? null],
    b: [born.user, born.fleet],
    s: startedAt,
    g: generation,
    r: rotatedAt,
    d: place === undefined ? [ip, userAgent] : [ip, userAgent, place],
    ...(name === undefined ? undefined : { n: name }),
    ...(actor === undefined ? undefined : { a: [actor.id, actor.endsAt] }),
    ...(record.isFactorDue === true ? { f: 1 } : undefined),
    ...(origin === undefined
      ? undefined
      : { o: [origin.provider, origin.subject, origin.sid, origin.issuedAt] as const }),
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
  const { u, p, b, s, g, r, d, n, a, f, o } = JSON.parse(json) as StoredRecord
  const [id, roles, permissions, tenantId] = u
  const [ip, userAgent, place] = d
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
      ...(place === undefined ? undefined : { place }),
    },
    ...(n === undefined ? undefined : { name: n }),
    ...(a === undefined ? undefined : { actor: { id: a[0], endsAt: a[1] } }),
    ...(f === 1 ? { isFactorDue: true } : undefined),
    ...(o === undefined
      ? undefined
      : { origin: { provider: o[0], subject: o[1], sid: o[2], issuedAt: o[3] } }),
  }
}
