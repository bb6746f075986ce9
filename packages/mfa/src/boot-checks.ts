/** Checks at boot what the option table cannot: options that depend on each other. */
import { createLocalCipher, parseCipherKeys, type Cipher } from '@parapet/kit'
import { BACKUP_CODE_BITS } from './backup-codes/backup-code.ts'
import { PARAPET_MFA_GUESSABLE, PARAPET_MFA_INVALID_OPTION, PARAPET_MFA_NO_KEY } from './errors.ts'
import { guessProbability } from './limits/guess-probability.ts'
import type { MfaSettings } from './options.ts'
import { findDeviations, profiles, type Profiled } from './profiles/profile.ts'
import { liveCodes, type TotpSettings } from './totp/totp-code.ts'

/** The cipher of the options. @throws PARAPET_MFA_NO_KEY, PARAPET_MFA_INVALID_OPTION */
export function cipherOf({ cipher, keys }: MfaSettings): Cipher {
  if (cipher !== undefined && keys !== undefined) {
    refuseOption('"cipher" and "keys" exclude each other, got both: remove one')
  }
  if (cipher !== undefined) return cipher
  if (keys === undefined) throw new PARAPET_MFA_NO_KEY()
  try {
    return createLocalCipher(parseCipherKeys(keys))
  } catch (error) {
    return refuseOption(`"keys" cannot be read: ${(error as Error).message}`)
  }
}

/** The settings with the defaults of the profile. @throws PARAPET_MFA_INVALID_OPTION */
export function applyProfile(settings: MfaSettings): Profiled {
  const defaults = profiles[settings.profile ?? 'none']
  const window = settings.totp.window ?? defaults.window
  const learnedWindow = settings.totp.learnedWindow ?? Math.min(window, defaults.learnedWindow)
  if (learnedWindow > window) {
    refuseOption(
      `"totp.learnedWindow" must be at most totp.window, ${window}, got ${learnedWindow}`,
    )
  }
  return {
    window,
    learnedWindow,
    deviceMaxAgeSeconds: settings.deviceMaxAgeSeconds ?? defaults.deviceMaxAgeSeconds,
    proofMaxAgeSeconds: settings.proofMaxAgeSeconds ?? defaults.proofMaxAgeSeconds,
  }
}

/** The probability of a guess. @throws PARAPET_MFA_GUESSABLE it is above the bound. */
export function requireUnguessable(settings: MfaSettings, totp: TotpSettings): number {
  const { throttle, backupCodes, maxGuessProbability } = settings
  const { failuresPer30Days } = throttle
  const probability = guessProbability({
    digits: totp.digits,
    liveCodes: liveCodes(totp),
    failuresPer30Days,
    backupCodes,
    backupCodeBits: BACKUP_CODE_BITS,
  })
  if (probability <= maxGuessProbability) return probability
  throw new PARAPET_MFA_GUESSABLE(
    probability.toPrecision(3),
    String(maxGuessProbability),
    `${failuresPer30Days} attempts at ${liveCodes(totp)} live codes of ${totp.digits} digits; ` +
      'lower throttle.failuresPer30Days or totp.window, or raise totp.digits',
  )
}

/** Where the settings deviate from the standards. */
export function deviationsOf(settings: MfaSettings, effective: Profiled): string[] {
  const { passkeys, notify: notifyUser, revokeSessions, elevate, routes, profile } = settings
  const graced = Object.entries(settings.roles).filter(([, role]) => role.graceSeconds > 0)
  const compared = {
    ...effective,
    hasPasskeys: passkeys !== undefined,
    notifiesUsers: notifyUser !== undefined,
    revokesSessions: revokeSessions !== undefined,
    // Without routes the application verifies factors, and then renews its sessions itself.
    renewsSessions: elevate !== undefined || !routes,
    gracedRoles: graced.map(([role]) => role),
  }
  return findDeviations(compared, profile)
}

/** @throws PARAPET_MFA_INVALID_OPTION */
export function refuseOption(fault: string): never {
  throw new PARAPET_MFA_INVALID_OPTION('@parapet/mfa', `  ${fault}`)
}
