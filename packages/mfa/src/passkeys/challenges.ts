/** Challenges of WebAuthn ceremonies. Each works once. */
import { PARAPET_MFA_CHALLENGE_REFUSED } from '../errors.ts'
import type { FactorContext, Origin } from '../factors/context.ts'
import type { OneTimeTokens } from '../tokens/one-time-token.ts'
import { challengeOf, type RelyingParty } from './webauthn-client-data.ts'

/** The value behind a challenge. */
export interface PendingCeremony {
  readonly purpose: 'register' | 'verify' | 'login'
  /** The user who must answer; `null`: any user. */
  readonly userId: string | null
  /** For `register`: the account's epoch when it began; in another epoch the challenge is refused. */
  readonly epoch?: number
}

/** What every ceremony needs. */
export interface PasskeyContext {
  readonly factors: FactorContext
  readonly relyingParty: RelyingParty
  readonly challenges: OneTimeTokens<PendingCeremony>
}

/** Uses up the challenge of a response. @throws PARAPET_MFA_CHALLENGE_REFUSED */
export async function redeemChallenge(
  { factors, challenges }: PasskeyContext,
  response: unknown,
  { purpose, userId }: Pick<PendingCeremony, 'purpose' | 'userId'>,
  origin: Origin,
): Promise<{ readonly challenge: string; readonly epoch: number | undefined }> {
  const challenge = challengeOf(response)
  const pending = challenge === null ? null : await challenges.redeem(challenge)
  if (challenge === null || pending?.purpose !== purpose || pending.userId !== userId) {
    // A used challenge cannot be told from an expired one, so the severity is low.
    factors.emit('mfa.replayed', userId ?? '', { method: 'passkey' }, origin, 'low')
    throw new PARAPET_MFA_CHALLENGE_REFUSED()
  }
  return { challenge, epoch: pending.epoch }
}

/** Emits `mfa.failed` for a passkey. */
export function reportPasskeyFailure(
  { factors }: PasskeyContext,
  userId: string,
  reason: PasskeyFailure,
  origin: Origin,
): void {
  // A valid signature with an old counter means that the authenticator was cloned.
  const severity = reason === 'counter' ? 'high' : undefined
  const details = { method: 'passkey', reason, failures: 0 } as const
  factors.emit('mfa.failed', userId, details, origin, severity)
}

/** Why a passkey was refused. */
export type PasskeyFailure = 'unknown' | 'signature' | 'counter' | 'revoked'
