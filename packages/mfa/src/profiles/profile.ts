/** Profiles: stricter defaults for a standard, and the settings that deviate from it. */

/** The standards that a profile can follow. */
export type Profile = 'aal2' | 'asvs'

/** The settings for which a profile has other defaults. */
export interface Profiled {
  readonly window: number
  readonly learnedWindow: number
  readonly deviceMaxAgeSeconds: number
  readonly proofMaxAgeSeconds: number
}

/** The defaults without a profile and with each. */
export const profiles: Readonly<Record<Profile | 'none', Profiled>> = Object.freeze({
  none: {
    window: 2,
    learnedWindow: 1,
    deviceMaxAgeSeconds: 2_592_000,
    proofMaxAgeSeconds: 43_200,
  },
  aal2: { window: 1, learnedWindow: 1, deviceMaxAgeSeconds: 0, proofMaxAgeSeconds: 43_200 },
  asvs: { window: 0, learnedWindow: 0, deviceMaxAgeSeconds: 0, proofMaxAgeSeconds: 43_200 },
})

/** The settings that {@link findDeviations} compares with the standards. */
export interface EffectiveSettings extends Profiled {
  readonly hasPasskeys: boolean
  /** Whether `notify` is set. */
  readonly notifiesUsers: boolean
  /** Whether `revokeSessions` is set. */
  readonly revokesSessions: boolean
  /** Whether a session gets new tokens when it has shown a factor. */
  readonly renewsSessions: boolean
  /** Roles with a grace period. */
  readonly gracedRoles: readonly string[]
}

interface Requirement {
  readonly standard: Profile
  readonly isViolated: (settings: EffectiveSettings) => boolean
  readonly text: (settings: EffectiveSettings) => string
}

const isRemembering = (settings: EffectiveSettings) => settings.deviceMaxAgeSeconds > 0
const hasGrace = (settings: EffectiveSettings) => settings.gracedRoles.length > 0
const graceText = ({ gracedRoles }: EffectiveSettings) =>
  `graceSeconds lets these roles work without a second factor: ${gracedRoles.join(', ')}`

/** Every requirement that a setting can violate, with what to set. */
const REQUIREMENTS: readonly Requirement[] = [
  {
    standard: 'asvs',
    isViolated: ({ window }) => window > 0,
    text: ({ window }) =>
      'ASVS 6.5.5: a code must be valid for 30 s; ' +
      `totp.window ${window} accepts it for ${(2 * window + 1) * 30} s`,
  },
  {
    standard: 'aal2',
    isViolated: isRemembering,
    text: () =>
      'NIST SP 800-63B-4, 2.2: a remembered device is not a second factor; ' +
      'set "deviceMaxAgeSeconds" to 0',
  },
  {
    standard: 'asvs',
    isViolated: isRemembering,
    text: () =>
      'ASVS 6.3.3: a remembered device skips the second factor; set "deviceMaxAgeSeconds" to 0',
  },
  {
    standard: 'aal2',
    isViolated: ({ proofMaxAgeSeconds }) => proofMaxAgeSeconds > 86_400,
    text: () =>
      'NIST SP 800-63B-4, 2.2.3: a proof must expire after 24 h; lower "proofMaxAgeSeconds"',
  },
  {
    standard: 'aal2',
    isViolated: ({ hasPasskeys }) => !hasPasskeys,
    text: () =>
      'NIST SP 800-63B-4, 2.2.2: a phishing-resistant factor must be offered; set "passkeys"',
  },
  {
    standard: 'aal2',
    isViolated: ({ notifiesUsers }) => !notifiesUsers,
    text: () => 'NIST SP 800-63B-4, 4.6: users must be notified of changes; set "notify"',
  },
  {
    standard: 'asvs',
    isViolated: ({ notifiesUsers }) => !notifiesUsers,
    text: () => 'ASVS 6.3.7: users must be notified of changes; set "notify"',
  },
  {
    standard: 'aal2',
    isViolated: hasGrace,
    text: (settings) => `NIST SP 800-63B-4, 2.2: ${graceText(settings)}`,
  },
  {
    standard: 'asvs',
    isViolated: hasGrace,
    text: (settings) => `ASVS 6.3.3: ${graceText(settings)}`,
  },
  {
    standard: 'asvs',
    isViolated: ({ renewsSessions }) => !renewsSessions,
    text: () => 'ASVS 7.2.4: a proof must renew the tokens of the session; set "elevate"',
  },
  {
    standard: 'asvs',
    isViolated: ({ revokesSessions }) => !revokesSessions,
    text: () => 'ASVS 7.4.3: a reset must end the sessions of the user; set "revokeSessions"',
  },
]

/**
 * Lists where the settings deviate from the standard of the profile, or from every standard without a
 * profile. One sentence each: the requirement, then the setting.
 */
export function findDeviations(
  settings: EffectiveSettings,
  profile: Profile | undefined,
): string[] {
  return REQUIREMENTS.filter(({ standard }) => profile === undefined || profile === standard)
    .filter(({ isViolated }) => isViolated(settings))
    .map(({ text }) => text(settings))
}
