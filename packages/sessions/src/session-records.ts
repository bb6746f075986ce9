/** What the store keeps of a session, and what a refresh token may do to it. */
import type { TokenEpochs } from './access-tokens.ts'
import type { RefreshToken } from './refresh-tokens.ts'
import type { Device, LoginProof, SessionUser } from './user.ts'

/** One session at rest: nothing in it can be replayed. */
export interface SessionRecord {
  readonly user: SessionUser
  readonly proof: Required<LoginProof>
  /** The epochs it began under. */
  readonly born: TokenEpochs
  readonly startedAt: number
  /** How many rotations there have been. */
  readonly generation: number
  /** The time of the last rotation, or of the start. */
  readonly rotatedAt: number
  readonly device: Device
}

/**
 * `rotate`: the newest token; its successor takes its place. `repeat`: the one before it, presented
 * by a request that raced the rotation; it gets the same successor. `reuse`: an older one.
 * `rollback`: one that the store has not come to yet, so the store was set back. `expired`: too late.
 */
export type RefreshVerdict = 'rotate' | 'repeat' | 'reuse' | 'rollback' | 'expired'

/** The durations of a session, in milliseconds. */
export interface SessionLifetimes {
  readonly refreshIdleMs: number
  readonly refreshAbsoluteMs: number
  readonly refreshGraceMs: number
}

/** Decides what a genuine refresh token may do. */
export function decideRefresh(
  record: SessionRecord,
  { generation }: RefreshToken,
  now: number,
  lifetimes: SessionLifetimes,
): RefreshVerdict {
  if (remainingMs(record, now, lifetimes) <= 0) return 'expired'
  if (generation === record.generation) return 'rotate'
  if (generation > record.generation) return 'rollback'
  const late = now - record.rotatedAt > lifetimes.refreshGraceMs
  return generation === record.generation - 1 && !late ? 'repeat' : 'reuse'
}

/** How long a session may still live without another refresh. */
export function remainingMs(
  { startedAt, rotatedAt }: SessionRecord,
  now: number,
  { refreshIdleMs, refreshAbsoluteMs }: SessionLifetimes,
): number {
  return Math.min(rotatedAt + refreshIdleMs, startedAt + refreshAbsoluteMs) - now
}

/** The text of a record; short names, since there is one for each session. */
export function writeRecord(record: SessionRecord): string {
  const { user, proof, born, startedAt, generation, rotatedAt, device } = record
  return JSON.stringify({
    u: [user.id, user.roles, user.permissions ?? null, user.tenantId ?? null],
    p: [proof.amr, proof.authenticatedAt],
    b: [born.user, born.fleet],
    s: startedAt,
    g: generation,
    r: rotatedAt,
    d: [device.ip ?? null, device.userAgent ?? null],
  })
}

interface StoredRecord {
  readonly u: [string, string[], string[] | null, string | null]
  readonly p: [string[], number]
  readonly b: [number, number]
  readonly s: number
  readonly g: number
  readonly r: number
  readonly d: [string | null, string | null]
}

/** Reads what {@link writeRecord} wrote. The store is ours: its texts are trusted to have that form. */
export function readRecord(text: string): SessionRecord {
  const { u, p, b, s, g, r, d } = JSON.parse(text) as StoredRecord
  const [id, roles, permissions, tenantId] = u
  const [ip, userAgent] = d
  return {
    user: {
      id,
      roles,
      ...(permissions === null ? undefined : { permissions }),
      ...(tenantId === null ? undefined : { tenantId }),
    },
    proof: { amr: p[0], authenticatedAt: p[1] },
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
