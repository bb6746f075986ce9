/** Decides what a genuine refresh token may do. */
import type { RefreshToken } from '../tokens/refresh-token.ts'
import { remainingMs, type SessionLifetimes, type SessionRecord } from './record.ts'

/**
 * `rotate`: the newest token; it is replaced by its successor. `repeat`: the token before it, and the
 * client may not have got the successor; it gets the same successor again. `reuse`: an older token.
 * `rollback`: a token that is newer than the record, so the store was restored from a backup. `expired`:
 * too late.
 */
export type RefreshDecision = 'rotate' | 'repeat' | 'reuse' | 'rollback' | 'expired'

/** The circumstances of a refresh. */
export interface RefreshCircumstances {
  readonly at: number
  readonly lifetimes: SessionLifetimes
  /** Whether the newest access token of the session has been used, so that the client has it. */
  readonly isUsed: () => Promise<boolean>
}

/** Decides what a refresh token may do to a session. @see docs/spec/refresh-token.md */
export async function decideRefresh(
  record: SessionRecord,
  { generation }: RefreshToken,
  { at, lifetimes, isUsed }: RefreshCircumstances,
): Promise<RefreshDecision> {
  if (remainingMs(record, at, lifetimes) <= 0) return 'expired'
  if (generation === record.generation) return 'rotate'
  if (generation > record.generation) return 'rollback'
  if (generation < record.generation - 1) return 'reuse'
  const isLate = at - record.rotatedAt > lifetimes.refreshGraceMs
  return isLate && (await isUsed()) ? 'reuse' : 'repeat'
}
