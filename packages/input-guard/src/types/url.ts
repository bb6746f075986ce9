/** URLs and targets of redirects, by the rules that browsers follow. @see WHATWG URL */
import type { TString } from '@sinclair/typebox'
import { PARAPET_INPUT_GUARD_REDIRECT_FORBIDDEN } from '../errors.ts'
import { hasLongMarks } from '../text/characters.ts'
import {
  checkSettings,
  commonOf,
  fault,
  guardedString,
  refuseType,
  type CommonOptions,
  type TextCheck,
} from './check.ts'

/** Options of {@link SafeUrl}. */
export interface SafeUrlOptions extends CommonOptions {
  /** @default 2048 */
  readonly maxLength?: number
  /** Schemes without a colon. @default ['https'] */
  readonly schemes?: readonly string[]
  /** Allows `user:password@`. @default false */
  readonly credentials?: boolean
  /** Host names that are allowed; `*.example.com` allows its subdomains. @default all */
  readonly hosts?: readonly string[]
}

/** An absolute URL. The value becomes its normal form. Whether its host may be requested, `fetch` decides. */
export function SafeUrl(options: SafeUrlOptions = {}): TString {
  checkSettings('SafeUrl', options, {
    maxLength: 'number',
    schemes: 'object',
    credentials: 'boolean',
    hosts: 'object',
  })
  const { maxLength = 2048, schemes = ['https'], credentials, hosts } = options
  if (schemes.length === 0 || schemes.some((each) => !/^[a-z][a-z0-9+.-]*$/.test(each))) {
    refuseType('SafeUrl', '"schemes" must be lower-case schemes without a colon')
  }
  if (schemes.some((each) => ['javascript', 'data', 'vbscript', 'blob', 'file'].includes(each))) {
    refuseType('SafeUrl', '"schemes" must not contain one that runs or reads in the page')
  }
  return guardedString(
    { type: 'url', schemes: [...schemes], credentials, hosts },
    { ...commonOf(options), format: 'uri', minLength: 1, maxLength },
  )
}

/** Options of {@link SafeRedirect}. */
export interface SafeRedirectOptions extends CommonOptions {
  /** The own origin: `https://app.example.com`. */
  readonly origin: string
  /** @default 2048 */
  readonly maxLength?: number
}

/** A target of a redirect on the own origin. The value becomes a path with query and fragment. */
export function SafeRedirect(options: SafeRedirectOptions): TString {
  checkSettings('SafeRedirect', options, { origin: 'string', maxLength: 'number' })
  const { origin, maxLength = 2048 } = options
  if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
    refuseType('SafeRedirect', '"origin" must be an origin such as "https://app.example.com"')
  }
  return guardedString(
    { type: 'redirect', origin },
    { ...commonOf(options), minLength: 1, maxLength },
  )
}

/** White space, controls and backslashes, which browsers drop or read as slashes. */
const MISLEADING = /[\p{Cc}\p{Cf}\p{Cs}\s\\]/u
const NOT_A_URL = fault('url', 'must be an absolute URL')
const SCHEME = fault('url_scheme', 'must have a scheme that is allowed here')
const CREDENTIALS = fault('url_credentials', 'must not contain a user name or password')
const HOST = fault('url_host', 'must have a host that is allowed here')
const OTHER_ORIGIN = fault('redirect', 'must be a path of this site')

/** Whether a host is one of `hosts`, or below one that begins with `*.`. */
export function isListedHost(host: string, hosts: readonly string[]): boolean {
  return hosts.some((each) =>
    each.startsWith('*.')
      ? host.endsWith(each.slice(1)) && host.length > each.length - 1
      : host === each,
  )
}

export function compileUrl(settings: SafeUrlOptions): TextCheck {
  const { schemes = ['https'], credentials = false, hosts } = settings
  return (text) => {
    if (MISLEADING.test(text) || hasLongMarks(text) || !URL.canParse(text)) return NOT_A_URL
    const url = new URL(text)
    if (!schemes.includes(url.protocol.slice(0, -1))) return SCHEME
    if (!credentials && (url.username !== '' || url.password !== '')) return CREDENTIALS
    if (hosts !== undefined && !isListedHost(url.hostname, hosts)) return HOST
    return url.href
  }
}

/**
 * Resolves the target of a redirect on the own origin.
 *
 * @returns the path with query and fragment, which begins with one slash.
 * @throws PARAPET_INPUT_GUARD_REDIRECT_FORBIDDEN it leads elsewhere.
 */
export function resolveRedirect(target: string, origin: string): string {
  const path = pathOn(target, origin)
  if (path === undefined) throw new PARAPET_INPUT_GUARD_REDIRECT_FORBIDDEN()
  return path
}

function pathOn(target: string, origin: string): string | undefined {
  if (MISLEADING.test(target) || hasLongMarks(target)) return undefined
  if (!URL.canParse(target, origin)) return undefined
  const url = new URL(target, origin)
  const path = `${url.pathname}${url.search}${url.hash}`
  // A path that begins with two slashes would be read as a host.
  const isOwn = url.origin === origin && url.username === '' && url.password === ''
  return isOwn && !path.startsWith('//') ? path : undefined
}

export function compileRedirect({ origin }: SafeRedirectOptions): TextCheck {
  return (text) => pathOn(text, origin) ?? OTHER_ORIGIN
}
