/** Verifies codes of authenticator apps. */
import type { Account, TotpFactor } from '../account/account.ts'
import type { Change } from '../account/accounts.ts'
import { PARAPET_MFA_CODE_REFUSED, PARAPET_MFA_CODE_USED } from '../errors.ts'
import { failed, runAttempt, type Outcome } from '../factors/attempt.ts'
import {
  checkLimits,
  reportRefusal,
  type CodeVerified,
  type RefusedAttempt,
} from '../factors/code-attempt.ts'
import { issueProof, type FactorContext, type Origin } from '../factors/context.ts'
import { normalizeCode } from '../factors/typed-code.ts'
import { countFailure, countSuccess } from '../limits/wrong-codes.ts'
import { decideTotp, type TotpSettings } from './totp-code.ts'

/** Verifies codes of authenticator apps. */
export interface TotpVerification {
  /** Whether a text has the form of a code. */
  isCode(text: string): boolean
  verify(userId: string, code: string, origin: Origin): Promise<CodeVerified>
}

type Decision =
  | {
      readonly ok: true
      readonly drift: number
      readonly clockAheadSeconds: number | null
      readonly account: Account
    }
  | RefusedAttempt<'wrong' | 'used' | 'throttled' | 'locked'>

/** Of any app: an imported one may have other digits than the options say. Backup codes have letters. */
const CODE = /^\d{6,8}$/

/** For users without an app: checking a code against it takes as long and never succeeds. */
const NO_FACTOR: Pick<TotpFactor, 'secret' | 'lastStep' | 'drift'> = {
  secret: 'A'.repeat(32),
  lastStep: Number.MAX_SAFE_INTEGER,
  drift: null,
}

/** Creates the verification. */
export function createTotpVerification(
  context: FactorContext,
  settings: TotpSettings,
): TotpVerification {
  return {
    isCode: (text) => CODE.test(normalizeCode(text)),
    verify: (userId, code, origin) =>
      runAttempt(context, { userId, method: 'totp', origin }, () =>
        verifyCode(context, settings, userId, normalizeCode(code), origin),
      ),
  }
}

/** One write decides, counts the attempt and marks the step as used; then the result is final. */
async function verifyCode(
  context: FactorContext,
  settings: TotpSettings,
  userId: string,
  code: string,
  origin: Origin,
): Promise<Outcome<CodeVerified>> {
  const now = context.now()
  const decided = await context.accounts.update(userId, (account) =>
    decide(context, settings, account, code, now),
  )
  if (!decided.ok) {
    reportRefusal(context, userId, 'totp', decided, origin)
    return failed(decided.error)
  }
  const { account, drift, clockAheadSeconds } = decided
  if (clockAheadSeconds !== null) {
    context.emit('mfa.clock_corrected', userId, { aheadSeconds: clockAheadSeconds }, origin)
  }
  const shown = { userId, method: 'totp', epoch: account.epoch } as const
  const proof = issueProof(context, shown, origin, drift)
  const backupCodesLeft = account.backupCodes?.hashes.length ?? 0
  return { ok: true, value: { proof, driftSteps: drift, backupCodesLeft } }
}

function decide(
  context: FactorContext,
  settings: TotpSettings,
  account: Account,
  code: string,
  now: number,
): Change<Decision> {
  const { totp, totpThrottle } = account
  const refusal = checkLimits(context, totpThrottle, now)
  if (refusal !== null) return { result: refusal }
  const verdict = decideTotp(totp ?? NO_FACTOR, code, now, settings)
  if (totp !== null && verdict.accepted) {
    const { step, drift, recentSteps, clockAheadSeconds } = verdict
    const used = { ...totp, lastStep: step, recentSteps, drift }
    return {
      next: { ...account, totp: used, totpThrottle: countSuccess(totpThrottle) },
      result: { ok: true, drift, clockAheadSeconds, account },
    }
  }
  if (totp !== null && !verdict.accepted && verdict.reason === 'used') {
    // A repeated code is no guess, so it is not counted: an impatient user must not be locked out.
    const { failures } = totpThrottle
    return { result: { ok: false, reason: 'used', failures, error: new PARAPET_MFA_CODE_USED() } }
  }
  const counted = countFailure(totpThrottle, now)
  const { failures } = counted
  return {
    next: { ...account, totpThrottle: counted },
    result: { ok: false, reason: 'wrong', failures, error: new PARAPET_MFA_CODE_REFUSED() },
  }
}
