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
export interface ComparedSettings {
  readonly profile: Profile | undefined
  readonly totp: { readonly window: number }
  readonly deviceMaxAgeSeconds: number
  readonly proofMaxAgeSeconds: number
  readonly roles: Readonly<Record<string, { readonly graceSeconds: number }>>
  readonly routes: boolean
  readonly passkeys: object | undefined
  readonly notify: object | undefined
  readonly revokeSessions: object | undefined
  readonly elevate: object | undefined
}

interface Requirement {
  readonly standard: Profile
  readonly isViolated: (settings: ComparedSettings) => boolean
  readonly text: (settings: ComparedSettings) => string
}

const isRemembering = (settings: ComparedSettings) => settings.deviceMaxAgeSeconds > 0
const gracedRoles = ({ roles }: ComparedSettings) =>
  Object.keys(roles).filter((role) => roles[role]!.graceSeconds > 0)
const hasGrace = (settings: ComparedSettings) => gracedRoles(settings).length > 0
const graceText = (settings: ComparedSettings) =>
  `graceSeconds lets these roles work without a second factor: ${gracedRoles(settings).join(', ')}`

/** Every requirement that a setting can violate, with what to set. */
const REQUIREMENTS: readonly Requirement[] = [
  {
    standard: 'asvs',
    isViolated: ({ totp }) => totp.window > 0,
    text: ({ totp: { window } }) =>
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
    isViolated: ({ passkeys }) => passkeys === undefined,
    text: () =>
      'NIST SP 800-63B-4, 2.2.2: a phishing-resistant factor must be offered; set "passkeys"',
  },
  {
    standard: 'aal2',
    isViolated: ({ notify }) => notify === undefined,
    text: () => 'NIST SP 800-63B-4, 4.6: users must be notified of changes; set "notify"',
  },
  {
    standard: 'asvs',
    isViolated: ({ notify }) => notify === undefined,
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
    // Without routes the application verifies factors, and then renews its sessions itself.
    isViolated: ({ elevate, routes }) => elevate === undefined && routes,
    text: () => 'ASVS 7.2.4: a proof must renew the tokens of the session; set "elevate"',
  },
  {
    standard: 'asvs',
    isViolated: ({ revokeSessions }) => revokeSessions === undefined,
    text: () => 'ASVS 7.4.3: a reset must end the sessions of the user; set "revokeSessions"',
  },
]

/**
 * Lists where the settings deviate from the standard of the profile, or from every standard without a
 * profile. One sentence each: the requirement, then the setting.
 */
export function findDeviations(settings: ComparedSettings): string[] {
  const { profile } = settings
  return REQUIREMENTS.filter(({ standard }) => profile === undefined || profile === standard)
    .filter(({ isViolated }) => isViolated(settings))
    .map(({ text }) => text(settings))
}
