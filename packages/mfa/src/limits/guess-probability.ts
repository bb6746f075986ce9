/** The probability that an attacker guesses a code within the limits, and its bound. */
import { PARAPET_MFA_GUESSABLE } from '../errors.ts'

/** What {@link guessProbability} depends on. */
export interface GuessSettings {
  /** Digits of a time-based code. */
  readonly digits: number
  /** How many time-based codes are accepted at one moment, at most. */
  readonly liveCodes: number
  readonly failuresPer30Days: number
  /** How many backup codes an account has. */
  readonly backupCodes: number
  /** Random bits of one backup code. */
  readonly backupCodeBits: number
}

/**
 * The probability that an attacker who has the first factor guesses a code of one account within 30
 * days, from any number of addresses. It assumes the worst case: the owner's successes end every
 * wait, and every attempt is compared with the widest window.
 *
 * @see NIST SP 800-63B-4, section 3.2.2
 */
export function guessProbability(settings: GuessSettings): number {
  const code = settings.liveCodes / 10 ** settings.digits
  const backup = settings.backupCodes / 2 ** settings.backupCodeBits
  // log1p and expm1 keep the digits that 1 - p would round away.
  return -Math.expm1(settings.failuresPer30Days * (Math.log1p(-code) + Math.log1p(-backup)))
}

/** The probability of a guess, if it is within the bound. @throws PARAPET_MFA_GUESSABLE */
export function requireUnguessable(settings: GuessSettings, bound: number): number {
  const probability = guessProbability(settings)
  if (probability <= bound) return probability
  const { failuresPer30Days, liveCodes, digits } = settings
  throw new PARAPET_MFA_GUESSABLE(
    probability.toPrecision(3),
    String(bound),
    `${failuresPer30Days} attempts at ${liveCodes} live codes of ${digits} digits; ` +
      'lower throttle.failuresPer30Days or totp.window, or raise totp.digits',
  )
}
