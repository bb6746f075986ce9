/** Profiles: stricter defaults by the name of a standard, and what of it the settings leave out. */

/** The standards that a profile can follow. */
export type Profile = 'aal2' | 'asvs'

/** The settings that a profile sets where the caller does not. */
export interface Profiled {
  readonly window: number
  readonly learnedWindow: number
  readonly deviceMaxAgeSeconds: number
  readonly proofMaxAgeSeconds: number
}

/** What holds without a profile, and with each. */
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

/** What a deviation is told from. */
export interface Effective extends Profiled {
  readonly hasPasskeys: boolean
  readonly tellsUsers: boolean
  readonly endsSessions: boolean
  /** Roles with a time of grace. */
  readonly gracedRoles: readonly string[]
}

/** What the settings in force leave undone of a standard, a sentence each; of all, without a profile. */
export function deviationsOf(effective: Effective, profile: Profile | undefined): string[] {
  const found: string[] = []
  const add = (standard: Profile, applies: boolean, text: string): void => {
    if (applies && (profile === undefined || profile === standard)) found.push(text)
  }
  const { window, deviceMaxAgeSeconds: device, proofMaxAgeSeconds: proof } = effective
  const graced = effective.gracedRoles.join(', ')
  add(
    'asvs',
    window > 0,
    `ASVS 6.5.5: a code lives 30 s; with totp.window ${window} it is accepted for ${(2 * window + 1) * 30} s`,
  )
  add('aal2', device > 0, 'NIST SP 800-63B-4, 2.2: a remembered device is no second factor')
  add('asvs', device > 0, 'ASVS 6.3.3: a remembered device skips the second factor')
  add('aal2', proof > 86_400, 'NIST SP 800-63B-4, 2.2.3: a proof counts for 24 h at most')
  add(
    'aal2',
    !effective.hasPasskeys,
    'NIST SP 800-63B-4, 2.2.2: a phishing-resistant factor is offered; set "passkeys"',
  )
  add(
    'aal2',
    !effective.tellsUsers,
    'NIST SP 800-63B-4, 4.6: users are told of changes; set "notify"',
  )
  add('asvs', !effective.tellsUsers, 'ASVS 6.3.7: users are told of changes; set "notify"')
  const unproved = `a role with graceSeconds does without a second factor for a while: ${graced}`
  add('aal2', graced !== '', `NIST SP 800-63B-4, 2.2: ${unproved}`)
  add('asvs', graced !== '', `ASVS 6.3.3: ${unproved}`)
  add(
    'asvs',
    !effective.endsSessions,
    'ASVS 7.4.3: sessions end with the factors of a reset; set "revokeSessions"',
  )
  return found
}
