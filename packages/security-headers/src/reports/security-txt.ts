/** security.txt: where to report a vulnerability. @see RFC 9116 */
import { option, optionGroup, type OptionReader } from '@parapet/kit'

/** The content of security.txt. Lists are in order of preference. @see RFC 9116 */
export interface SecurityTxtOptions {
  /** `mailto:`, `https:` or `tel:` URLs. */
  readonly contact: readonly string[]
  /** When the file expires: an RFC 3339 time, at most a year ahead: `2027-06-30T00:00:00Z`. */
  readonly expires: string
  /** URLs of encryption keys. @default none */
  readonly encryption?: readonly string[]
  /** @default none */
  readonly acknowledgments?: readonly string[]
  /** Language tags. @default none @see RFC 5646, section 2.1 */
  readonly preferredLanguages?: readonly string[]
  /** The URLs at which the file is served. @default none */
  readonly canonical?: readonly string[]
  /** The URLs of the disclosure policy. @default none */
  readonly policy?: readonly string[]
  /** @default none */
  readonly hiring?: readonly string[]
}

/** The content of security.txt with every default filled in. */
export type SecurityTxt = Required<SecurityTxtOptions>

/** Printable ASCII without spaces. @see RFC 3986, section 2 */
const uri = option.text({
  pattern: /^[!-~]+$/,
  form: 'a URL of printable ASCII, such as "mailto:security@example.com"',
})
const uris = option.list(uri, { default: [], max: 20 })
const languages = option.list(
  option.text({ pattern: /^[a-z]{1,8}(?:-[a-z0-9]{1,8})*$/i, form: 'a language tag such as "en"' }),
  {
    default: [],
    max: 20,
  },
)

/** Reads the option `securityTxt`. */
export const securityTxtReader: OptionReader<SecurityTxt> = optionGroup({
  contact: option.list(uri, { min: 1, max: 20 }),
  expires: option.text({
    pattern: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/,
    form: 'a time such as "2027-03-01T00:00:00Z"',
  }),
  encryption: uris,
  acknowledgments: uris,
  preferredLanguages: languages,
  canonical: uris,
  policy: uris,
  hiring: uris,
})

/** The path of the file. @see RFC 9116, section 3 */
export const SECURITY_TXT_PATH = '/.well-known/security.txt'

const DAY_MS = 86_400_000

/** Renders the file. The option reader guarantees that no value contains a line break. */
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

/** Full days until the file expires; negative after that. @param now milliseconds since the epoch. */
export function daysUntilExpiry(file: SecurityTxt, now: number): number {
  return Math.floor((Date.parse(file.expires) - now) / DAY_MS)
}
