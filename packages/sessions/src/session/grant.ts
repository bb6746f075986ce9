/** The tokens that a login or a refresh returns. */
import { tokenEpochsOf, type EpochPair } from '../revocation/epoch.ts'
import type { SessionContext } from './context.ts'
import { remainingMs, type SessionRecord } from './record.ts'

/** The result of a login or a refresh. Frozen. */
export interface SessionGrant {
  readonly sessionId: string
  readonly userId: string
  readonly accessToken: string
  /** Milliseconds since the Unix epoch. */
  readonly accessExpiresAt: number
  readonly refreshToken: string
  /** When the session expires unless it is refreshed before. */
  readonly refreshExpiresAt: number
}

/**
 * Issues the tokens of a session.
 *
 * @param epochs read before this call, so that an epoch which starts meanwhile makes the token invalid.
 */
export async function createGrant(
  context: SessionContext,
  sessionId: string,
  record: SessionRecord,
  epochs: EpochPair,
): Promise<SessionGrant> {
  const { issueToken, refreshTokens, lifetimes, now } = context
  const { user, proof, generation, actor, isFactorDue } = record
  const access = await issueToken({
    user,
    sessionId,
    generation,
    epochs: tokenEpochsOf(epochs),
    proof,
    ...(actor === undefined ? undefined : { actor }),
    ...(isFactorDue === true ? { isFactorDue } : undefined),
  })
  const at = now()
  return Object.freeze({
    sessionId,
    userId: user.id,
    accessToken: access.text,
    accessExpiresAt: access.expiresAt,
    refreshToken: refreshTokens.derive({ sessionId, generation }),
    refreshExpiresAt: at + remainingMs(record, at, lifetimes),
  })
}
