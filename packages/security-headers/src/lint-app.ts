/** The lint of what holds for the whole app: CORS, isolation, cookies, https and security.txt. */
import type { CorsSettings } from './cors.ts'
import { isOrigin } from './origin.ts'
import type { Waiver } from './policy.ts'
import { rules, type Finding, type RuleId } from './rules.ts'
import { daysLeft, type SecurityTxt } from './security-txt.ts'

/** What the lint looks at. */
export interface LintedApp {
  readonly cors: CorsSettings | undefined
  readonly isolation: { readonly scope: string; readonly trustedOrigins: readonly string[] }
  readonly cookies: { readonly mode: string; readonly readable: readonly string[] }
  readonly https: { readonly hosts: readonly string[] } | undefined
  readonly securityTxt: SecurityTxt | undefined
}

type Found = readonly [rule: RuleId, where: string, found: string]

/** Finds the weak spots of the app's settings. @param now milliseconds. */
export function lintApp(app: LintedApp, now: number): Finding[] {
  return [
    ...(app.cors === undefined ? [] : lintCors(app.cors)),
    ...lintIsolation(app.isolation),
    ...lintCookies(app.cookies),
    ...lintHttps(app),
    ...(app.securityTxt === undefined ? [] : lintSecurityTxt(app.securityTxt, now)),
  ].map(([rule, where, found]) => ({ rule, where, found }))
}

const FORBIDDEN_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK'])
/** @see Fetch, section 2.2.2, forbidden request-header */
const FORBIDDEN_HEADERS =
  /^(?:(?:sec|proxy|access-control)-.*|accept-(?:charset|encoding)|connection|content-length|cookie2?|date|dnt|expect|host|keep-alive|origin|referer|set-cookie|te|trailer|transfer-encoding|upgrade|via)$/i
const MAX_PREFLIGHT_SECONDS = 86_400

/** The settings come from JavaScript too, so nothing is taken for granted about their types. */
function lintCors(cors: CorsSettings): Found[] {
  const found: Found[] = []
  const say = (rule: RuleId, at: string, text: unknown) =>
    found.push([rule, `option cors.${at}`, String(text)])
  const { origins, methods, allowedHeaders, exposedHeaders, credentials } = cors
  if ((origins as unknown) === true) say('CORS-REFLECT', 'origins', 'true')
  const list: readonly unknown[] = Array.isArray(origins) ? origins : []
  if (list.length === 0 && Array.isArray(origins) && cors.allowOrigin === undefined) {
    say('CORS-NOBODY', 'origins', 'an empty list')
  }
  for (const origin of list) {
    const rule = judgeOrigin(origin)
    if (rule !== null) say(rule, 'origins', origin)
  }
  if (list.includes('*')) {
    if (credentials) say('CORS-WILDCARD-CREDENTIALS', 'origins', '* with credentials')
    if (cors.privateNetwork) say('CORS-PRIVATE-NETWORK', 'privateNetwork', '* with privateNetwork')
  }
  for (const method of methods) {
    if (method === '*') say('CORS-ANY-METHOD', 'methods', method)
    else if (!/^[A-Z]+$/.test(method) || FORBIDDEN_METHODS.has(method)) {
      say('CORS-METHOD-FORM', 'methods', method)
    }
  }
  if (allowedHeaders.includes('*')) say('CORS-ANY-HEADER', 'allowedHeaders', '*')
  for (const name of allowedHeaders) {
    if (FORBIDDEN_HEADERS.test(name)) say('CORS-FORBIDDEN-HEADER', 'allowedHeaders', name)
  }
  if (exposedHeaders.includes('*')) say('CORS-EXPOSE-ANY', 'exposedHeaders', '*')
  const exposed = exposedHeaders.find((name) => /^set-cookie2?$/i.test(name))
  if (exposed !== undefined) say('CORS-EXPOSE-COOKIE', 'exposedHeaders', exposed)
  if (cors.maxAgeSeconds > MAX_PREFLIGHT_SECONDS) {
    say('CORS-MAX-AGE', 'maxAgeSeconds', cors.maxAgeSeconds)
  }
  return found
}

/** Suffixes under which names are given to anyone; every single label is one as well. */
const PUBLIC_SUFFIXES = new Set(
  (
    'co.uk org.uk com.au co.jp co.nz com.br co.in co.za github.io gitlab.io pages.dev workers.dev web.app ' +
    'firebaseapp.com appspot.com herokuapp.com vercel.app netlify.app azurewebsites.net blogspot.com ' +
    'cloudfront.net s3.amazonaws.com onrender.com fly.dev ngrok.io ngrok.app surge.sh glitch.me'
  ).split(' '),
)

function judgeOrigin(origin: unknown): RuleId | null {
  if (origin === '*') return null
  if (origin instanceof RegExp) return 'CORS-REGEXP'
  if (typeof origin !== 'string') return 'CORS-REFLECT'
  if (origin === 'null') return 'CORS-NULL'
  if (origin.includes('*')) return judgePattern(origin)
  if (!isOrigin(origin)) return 'CORS-ORIGIN-FORM'
  return isSecureOrigin(origin) ? null : 'CORS-INSECURE-ORIGIN'
}

function judgePattern(pattern: string): RuleId | null {
  const [, domain] = /^https?:\/\/\*\.([^*]+)$/.exec(pattern) ?? []
  if (domain === undefined || !isOrigin(`https://${domain}`)) return 'CORS-PATTERN'
  if (!pattern.startsWith('https:')) return 'CORS-INSECURE-ORIGIN'
  const [host = ''] = domain.split(':')
  return !host.includes('.') || PUBLIC_SUFFIXES.has(host) ? 'CORS-PUBLIC-SUFFIX' : null
}

/** On the developer's own machine nobody is on the way. */
function isSecureOrigin(origin: string): boolean {
  const { protocol, hostname } = new URL(origin)
  return protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
}

function lintIsolation({ scope, trustedOrigins }: LintedApp['isolation']): Found[] {
  const where = 'option isolation'
  const open: Found[] = scope === 'cross-site' ? [['ISOLATION-OPEN', where, scope]] : []
  const bad = trustedOrigins.filter((origin) => !isOrigin(origin) || !isSecureOrigin(origin))
  return [...open, ...bad.map((origin) => ['ISOLATION-TRUST', where, origin] as const)]
}

function lintCookies({ mode, readable }: LintedApp['cookies']): Found[] {
  const off: Found[] = mode === 'off' ? [['COOKIE-AUDIT-OFF', 'option cookies.mode', mode]] : []
  const named = readable.filter(
    (name) => /sess|sid|auth|jwt|token$/i.test(name) && !/[cx]srf/i.test(name),
  )
  return [
    ...off,
    ...named.map((name) => ['COOKIE-READABLE-SESSION', 'option cookies.readable', name] as const),
  ]
}

function lintHttps({ https }: LintedApp): Found[] {
  return (https?.hosts ?? [])
    .filter((host) => !isOrigin(`https://${host}`))
    .map((host) => ['HTTPS-HOST', 'option https.hosts', host] as const)
}

const MAX_TXT_DAYS = 366

function lintSecurityTxt(file: SecurityTxt, now: number): Found[] {
  const left = daysLeft(file, now)
  const found: Found[] = []
  const say = (rule: RuleId, key: string, text: string) =>
    found.push([rule, `option securityTxt.${key}`, text])
  // `!(x > y)`: a date that cannot be read counts as expired.
  if (!(left >= 0)) say('TXT-EXPIRED', 'expires', file.expires)
  else if (left > MAX_TXT_DAYS) say('TXT-TOO-FAR', 'expires', file.expires)
  for (const contact of file.contact) {
    if (!/^(?:mailto:|https:\/\/|tel:)\S+$/.test(contact)) say('TXT-CONTACT', 'contact', contact)
  }
  for (const key of ['canonical', 'policy', 'hiring', 'acknowledgments', 'encryption'] as const) {
    for (const link of file[key]) {
      // A key may also be named where the DNS keeps it, or by its fingerprint.
      const named = key === 'encryption' && /^(?:dns|openpgp4fpr):./.test(link)
      if (!named && !/^https:\/\/./.test(link)) say('TXT-LINK', key, link)
    }
  }
  return found
}

const DAY_MS = 86_400_000
const MIN_REASON = 10

/**
 * Takes away what is waived.
 *
 * @param accepted rules that the preset breaks by design.
 * @returns what is left, and what is wrong with the waivers themselves.
 */
export function applyWaivers(
  findings: readonly Finding[],
  waivers: readonly Waiver[],
  accepted: readonly string[],
  now: number,
): Finding[] {
  const standing = new Set(accepted)
  const faults: Finding[] = []
  for (const waiver of waivers) {
    const fault = judgeWaiver(waiver, now)
    if (fault === null) standing.add(waiver.rule)
    else
      faults.push({ rule: fault, where: 'a waiver', found: `${waiver.rule} until ${waiver.until}` })
  }
  return [...findings.filter(({ rule }) => !standing.has(rule)), ...faults]
}

function judgeWaiver({ rule, reason, until }: Waiver, now: number): RuleId | null {
  // The last day counts whole.
  const end = Date.parse(`${until}T00:00:00Z`) + DAY_MS
  if (!Object.hasOwn(rules, rule)) return 'WAIVER-UNKNOWN'
  if (reason.trim().length < MIN_REASON) return 'WAIVER-VAGUE'
  if (!(end > now)) return 'WAIVER-EXPIRED'
  return end > now + 367 * DAY_MS ? 'WAIVER-TOO-LONG' : null
}
