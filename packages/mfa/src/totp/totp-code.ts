/** Time-based one-time passwords: computing a code, and deciding whether one may be used now. */
import { timingSafeEqual } from 'node:crypto'
import { takeRandom } from '@parapet/kit'
import { HOTP, Secret, TOTP } from 'otpauth'
import type { TotpFactor } from '../account/account.ts'

/** The hash of the HMAC. Few authenticator apps support anything but `SHA1`. */
export type TotpAlgorithm = 'SHA1' | 'SHA256' | 'SHA512'

/** How codes are computed, and how far the user's clock may be off. */
export interface TotpSettings {
  readonly algorithm: TotpAlgorithm
  readonly digits: number
  /** Steps accepted to each side of now while the drift of the user's clock is unknown. */
  readonly window: number
  /** Steps accepted to each side of the drift once it is known. */
  readonly learnedWindow: number
}

/** The result of {@link decideTotp}. */
export type TotpVerdict =
  | {
      readonly accepted: true
      readonly step: number
      readonly drift: number
      readonly recentSteps: readonly number[]
      /** Seconds by which the clock was ahead when it wrote the last step; `null`: it was not. */
      readonly clockAheadSeconds: number | null
    }
  | { readonly accepted: false; readonly reason: 'wrong' | 'used' }

/** The length of a step. @see RFC 6238, section 4.1; NIST SP 800-63B-4, section 3.1.4.1 */
const STEP_MS = 30_000
/** How many used steps are kept: those before and during a fault of the clock. */
const RECENT_STEPS = 8
/** 160 bits: the output of HMAC-SHA-1 (RFC 4226, section 4), more than the 112 that NIST requires. */
const SECRET_BYTES = 20

/** Creates a secret, as base32. */
export function createTotpSecret(): string {
  return new Secret({ buffer: Uint8Array.from(takeRandom(SECRET_BYTES)).buffer }).base32
}

/** The time step of a moment. */
export function stepAt(now: number): number {
  return Math.floor(now / STEP_MS)
}

/** The code of one step. @see RFC 6238; RFC 4226, section 5.3 */
export function totpCode(
  secret: Secret,
  step: number,
  { algorithm, digits }: Pick<TotpSettings, 'algorithm' | 'digits'>,
): string {
  return HOTP.generate({ secret, algorithm, digits, counter: step })
}

/** The `otpauth:` URI that an authenticator app reads. */
export function totpUri(
  issuer: string,
  label: string,
  secret: string,
  { algorithm, digits }: Pick<TotpSettings, 'algorithm' | 'digits'>,
): string {
  const period = STEP_MS / 1000
  return new TOTP({ issuer, label, secret, algorithm, digits, period }).toString()
}

/**
 * Decides whether a code may be used now. Every step of the widest window is computed and compared
 * each time, so that the duration does not depend on the code, the drift or the used steps.
 *
 * @param code only digits; the caller has checked the form.
 * @param defaults apply to an app without a form of its own.
 * @see RFC 6238, sections 5.2 and 6; NIST SP 800-63B-4, section 3.1.4.2
 */
export function decideTotp(
  factor: Pick<TotpFactor, 'secret' | 'lastStep' | 'drift' | 'recentSteps' | 'form'>,
  code: string,
  now: number,
  defaults: TotpSettings,
): TotpVerdict {
  const settings = { ...defaults, ...factor.form }
  const stepMs = factor.form === undefined ? STEP_MS : factor.form.periodSeconds * 1000
  const secret = Secret.fromBase32(factor.secret)
  const given = Buffer.from(code)
  const current = Math.floor(now / stepMs)
  const { recentSteps = [factor.lastStep] } = factor
  const newest = current + settings.window
  // No code of the future is accepted, so a last step of the future was written by a clock that was ahead.
  const isFault = factor.lastStep > newest
  const floor = isFault
    ? Math.max(-1, ...recentSteps.filter((step) => step <= newest))
    : factor.lastStep
  let used = false
  let found: number | undefined
  for (let drift = -settings.window; drift <= settings.window; drift++) {
    const step = current + drift
    const expected = Buffer.from(totpCode(secret, Math.max(0, step), settings))
    const equal = given.length === expected.length && timingSafeEqual(given, expected)
    const live = step >= 0 && isLive(drift, factor.drift, settings)
    const isUsed = step <= floor || recentSteps.includes(step)
    if (equal && live && !isUsed) found ??= drift
    if (equal && live && isUsed) used = true
  }
  if (found !== undefined) {
    const step = current + found
    const recent = [...recentSteps, step].slice(-RECENT_STEPS)
    const clockAheadSeconds = isFault ? ((factor.lastStep - current) * stepMs) / 1000 : null
    return { accepted: true, step, drift: found, recentSteps: recent, clockAheadSeconds }
  }
  return { accepted: false, reason: used ? 'used' : 'wrong' }
}

/** Drift 0 stays accepted once another drift is known, because the phone may have set its clock. */
function isLive(drift: number, learned: number | null, { learnedWindow }: TotpSettings): boolean {
  return learned === null || drift === 0 || Math.abs(drift - learned) <= learnedWindow
}

/** How many codes are accepted at one moment, at most. */
export function liveCodes({ window }: Pick<TotpSettings, 'window'>): number {
  return 2 * window + 1
}
