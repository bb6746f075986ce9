/** E-mail addresses. @see RFC 5321, section 4.5.3.1; RFC 5890 */
import { domainToASCII } from 'node:url'
import type { TString } from '@sinclair/typebox'
import { hasLoneSurrogate, hasLongMarks } from '../text/characters.ts'
import {
  checkSettings,
  commonOf,
  fault,
  guardedString,
  refuseType,
  type CheckTools,
  type CommonOptions,
  type TextCheck,
} from './check.ts'

/** Options of {@link SafeEmail}. */
export interface SafeEmailOptions extends CommonOptions {
  /** Characters, at most 254. @default 254 */
  readonly maxLength?: number
  /** `reject` refuses the domains of throw-away mailboxes. @default 'allow' */
  readonly disposable?: 'allow' | 'reject'
  /** Asks the port `mailDomain` whether the domain receives mail. @default false */
  readonly mx?: boolean
}

/** An e-mail address. The domain becomes lower-case ASCII (`пример.рф` → `xn--…`); the local part is unchanged. */
export function SafeEmail(options: SafeEmailOptions = {}): TString {
  checkSettings('SafeEmail', options, {
    maxLength: 'number',
    disposable: ['allow', 'reject'],
    mx: 'boolean',
  })
  const { maxLength = 254, disposable, mx } = options
  return guardedString(
    { type: 'email', disposable, mx },
    { ...commonOf(options), format: 'email', maxLength: Math.min(maxLength, 254) },
  )
}

const [MAX_LOCAL, MAX_DOMAIN] = [64, 253]
const LOCAL_PART = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+)*"
/** Labels of letters, digits and inner hyphens; the last one is no number. */
const DOMAIN_NAME = String.raw`(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?!\d+$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?`
const LOCAL = new RegExp(`^${LOCAL_PART}$`)
const DOMAIN = new RegExp(`^${DOMAIN_NAME}$`)
/** Most addresses have a domain in lower-case ASCII already. */
const NORMAL = new RegExp(`^(?=[^@]{1,${MAX_LOCAL}}@)${LOCAL_PART}@${DOMAIN_NAME}$`)
const NOT_ASCII = /\P{ASCII}/u
/** Characters that `domainToASCII` would drop or read as a dot or as the end of the host. */
const NOT_IN_DOMAIN = /[\s\p{Cc}\p{Cf}/\\?#@:%[\]<>^|。．｡]/u

const NOT_AN_EMAIL = fault('email', 'must be an e-mail address')
const DISPOSABLE = fault('email_disposable', 'must not be an address of a throw-away mailbox')
const NO_MAIL = fault('email_domain', 'must have a domain that receives mail')

/** The address with its domain as DNS has it, or `undefined` if it is none. */
function normalizeAddress(text: string): string | undefined {
  if (text.length <= MAX_DOMAIN && NORMAL.test(text)) return text
  const at = text.lastIndexOf('@')
  if (at < 1 || at > MAX_LOCAL) return undefined
  const local = text.slice(0, at)
  const domain = normalizeDomain(text.slice(at + 1))
  return domain !== undefined && LOCAL.test(local) ? `${local}@${domain}` : undefined
}

function normalizeDomain(text: string): string | undefined {
  const isForeign = NOT_ASCII.test(text)
  if (isForeign && NOT_IN_DOMAIN.test(text)) return undefined
  if (isForeign && (hasLoneSurrogate(text) || hasLongMarks(text))) return undefined
  const ascii = isForeign ? domainToASCII(text) : text.toLowerCase()
  return ascii.length <= MAX_DOMAIN && DOMAIN.test(ascii) ? ascii : undefined
}

export function compileEmail({ disposable, mx }: SafeEmailOptions, tools: CheckTools): TextCheck {
  const { libraries, mailDomain } = tools
  if (mx === true && mailDomain === undefined) {
    refuseType('SafeEmail', '"mx" needs the option "mailDomain" of the plugin')
  }
  if (disposable === 'reject') libraries.need('disposable-email-domains-js')
  return (text, report) => {
    const address = normalizeAddress(text)
    if (address === undefined) return NOT_AN_EMAIL
    if (disposable !== 'reject' && mx !== true) return address
    const domain = address.slice(address.lastIndexOf('@') + 1)
    if (disposable === 'reject' && isDisposable(domain, tools)) return DISPOSABLE
    if (mx === true && mailDomain !== undefined) {
      report.later(async () => ((await mailDomain(domain)) ? undefined : NO_MAIL))
    }
    return address
  }
}

/** A subdomain of a listed domain counts as listed. */
function isDisposable(domain: string, { libraries }: CheckTools): boolean {
  const library = libraries.get('disposable-email-domains-js')
  const labels = domain.split('.')
  for (let first = 0; first < labels.length - 1; first++) {
    if (library.isDisposableEmailDomain(labels.slice(first).join('.'))) return true
  }
  return false
}
