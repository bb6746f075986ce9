/** Time-based one-time passwords: which step a code belongs to, and whether that step may be used. */
import { timingSafeEqual } from 'node:crypto'
import { takeRandom } from '@parapet/kit'
import { HOTP, Secret, TOTP } from 'otpauth'

/** The hash under the HMAC; authenticator apps that read anything but `SHA1` are rare. */
export type TotpAlgorithm = 'SHA1' | 'SHA256' | 'SHA512'

/** How codes are made and how far a clock may be off. */
export interface TotpSettings {
  readonly algorithm: TotpAlgorithm
  readonly digits: number
  /** Steps to each side that are accepted while the drift of the user's clock is unknown. */
  readonly window: number
  /** Steps around the learned drift, afterwards. */
  readonly learnedWindow: number
}

/** What an account keeps of its authenticator app. */
export interface TotpFactor {
  /** Base32. */
  readonly secret: string
  readonly enrolledAt: number
  /** The newest step that was used: it and all before it are spent. */
  readonly lastStep: number
  /** How many steps the user's clock was ahead of ours the last time; `null`: not known yet. */
  readonly drift: number | null
}

/** The answer of {@link decideTotp}. */
export type TotpVerdict =
  | { readonly accepted: true; readonly step: number; readonly drift: number }
  | { readonly accepted: false; readonly reason: 'wrong' | 'used' }

/** The length of a step. @see RFC 6238, section 4.1; NIST SP 800-63B-4, section 3.1.4.1 */
const STEP_MS = 30_000
/** 160 bits: the block of HMAC-SHA-1, and above the 112 that NIST asks for. */
const SECRET_BYTES = 20

/** A fresh secret as base32. */
export function createTotpSecret(): string {
  return new Secret({ buffer: Uint8Array.from(takeRandom(SECRET_BYTES)).buffer }).base32
}

/** The step of a moment. */
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

/** The URI an authenticator app reads. */
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
 * Says whether a code may be used now. Every step of the widest window is computed and compared each
 * time, so the work tells nothing of the code, the drift or the steps that are spent.
 *
 * @param code exactly `digits` digits; the caller has checked the form.
 * @see RFC 6238, sections 5.2 and 6; NIST SP 800-63B-4, section 3.1.4.2
 */
export function decideTotp(
  factor: Pick<TotpFactor, 'secret' | 'lastStep' | 'drift'>,
  code: string,
  now: number,
  settings: TotpSettings,
): TotpVerdict {
  const secret = Secret.fromBase32(factor.secret)
  const given = Buffer.from(code)
  const current = stepAt(now)
  let used = false
  let found: number | undefined
  for (let drift = -settings.window; drift <= settings.window; drift++) {
    const step = current + drift
    const expected = Buffer.from(totpCode(secret, Math.max(0, step), settings))
    const equal = given.length === expected.length && timingSafeEqual(given, expected)
    const live = step >= 0 && isLive(drift, factor.drift, settings)
    if (equal && live && step > factor.lastStep) found ??= drift
    if (equal && live && step <= factor.lastStep) used = true
  }
  if (found !== undefined) return { accepted: true, step: current + found, drift: found }
  return { accepted: false, reason: used ? 'used' : 'wrong' }
}

/** Once the drift is known its neighbours are live, and so is 0: a phone may have set its clock. */
function isLive(drift: number, learned: number | null, { learnedWindow }: TotpSettings): boolean {
  return learned === null || drift === 0 || Math.abs(drift - learned) <= learnedWindow
}

/** The most codes that are right at one moment. */
export function liveCodes({ window }: Pick<TotpSettings, 'window'>): number {
  return 2 * window + 1
}
