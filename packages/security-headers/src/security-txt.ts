/** security.txt: whom to tell of a weakness. @see RFC 9116 */

/** What the file says. Every list is in order of preference. */
export interface SecurityTxt {
  /** `mailto:`, `https:` or `tel:` addresses. */
  readonly contact: readonly string[]
  /** When the file is out of date: an RFC 3339 time, at most a year ahead. */
  readonly expires: string
  readonly encryption: readonly string[]
  readonly acknowledgments: readonly string[]
  /** Language tags. */
  readonly preferredLanguages: readonly string[]
  /** Where the file is meant to be found. */
  readonly canonical: readonly string[]
  readonly policy: readonly string[]
  readonly hiring: readonly string[]
}

/** Where the file is served. @see RFC 9116, section 3 */
export const SECURITY_TXT_PATH = '/.well-known/security.txt'

const DAY_MS = 86_400_000

/** The file's text. No value holds a line break: the options refuse it. */
export function renderSecurityTxt(file: SecurityTxt): string {
  const lines = [
    ...fields('Contact', file.contact),
    `Expires: ${file.expires}`,
    ...fields('Encryption', file.encryption),
    ...fields('Acknowledgments', file.acknowledgments),
    ...(file.preferredLanguages.length > 0
      ? [`Preferred-Languages: ${file.preferredLanguages.join(', ')}`]
      : []),
    ...fields('Canonical', file.canonical),
    ...fields('Policy', file.policy),
    ...fields('Hiring', file.hiring),
  ]
  return `${lines.join('\n')}\n`
}

function fields(name: string, values: readonly string[]): string[] {
  return values.map((value) => `${name}: ${value}`)
}

/** Whole days until the file expires; negative once it has. @param now milliseconds. */
export function daysLeft(file: SecurityTxt, now: number): number {
  return Math.floor((Date.parse(file.expires) - now) / DAY_MS)
}
