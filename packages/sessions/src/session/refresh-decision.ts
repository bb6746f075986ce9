/** Decides what a genuine refresh token may do. */
import type { RefreshToken } from '../tokens/refresh-token.ts'
import { remainingMs, type SessionLifetimes, type SessionRecord } from './record.ts'

/**
 * `rotate`: the newest token; it is replaced by its successor. `repeat`: the token before it, within
 * the grace period; it gets the same successor again. `reuse`: an older token. `rollback`: a token
 * that is newer than the record, so the store was restored from a backup. `expired`: too late.
 */
export type RefreshDecision = 'rotate' | 'repeat' | 'reuse' | 'rollback' | 'expired'

/** Decides what a refresh token may do to a session. @see docs/spec/refresh-token.md */
export function decideRefresh(
  record: SessionRecord,
  { generation }: RefreshToken,
  now: number,
  lifetimes: SessionLifetimes,
): RefreshDecision {
  if (remainingMs(record, now, lifetimes) <= 0) return 'expired'
  if (generation === record.generation) return 'rotate'
  if (generation > record.generation) return 'rollback'
  const isLate = now - record.rotatedAt > lifetimes.refreshGraceMs
  return generation === record.generation - 1 && !isLate ? 'repeat' : 'reuse'
}
