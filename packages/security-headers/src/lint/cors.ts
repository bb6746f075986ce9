/** The lint of the option `cors`. */
import type { CorsSettings } from '../cors/options.ts'
import { isOrigin, isSecureOrigin } from '../cors/origin.ts'
import type { Finding, RuleId } from './rules.ts'

type Report = (rule: RuleId, option: string, found: unknown) => void

/** Finds unsafe CORS settings. Values may have any type: JavaScript callers are not type-checked. */
export function lintCors(cors: CorsSettings): Finding[] {
  const findings: Finding[] = []
  const report: Report = (rule, name, found) => {
    findings.push({ rule, where: `option cors.${name}`, found: String(found) })
  }
  lintOrigins(cors, report)
  lintMethods(cors, report)
  lintHeaders(cors, report)
  if (cors.maxAgeSeconds > MAX_PREFLIGHT_SECONDS) {
    report('CORS-MAX-AGE', 'maxAgeSeconds', cors.maxAgeSeconds)
  }
  return findings
}

const MAX_PREFLIGHT_SECONDS = 86_400

function lintOrigins(cors: CorsSettings, report: Report): void {
  const { origins, credentials, privateNetwork } = cors
  if ((origins as unknown) === true) report('CORS-REFLECT', 'origins', 'true')
  const list: readonly unknown[] = Array.isArray(origins) ? origins : []
  if (list.length === 0 && Array.isArray(origins) && cors.allowOrigin === undefined) {
    report('CORS-NOBODY', 'origins', 'an empty list')
  }
  for (const origin of list) {
    const rule = ruleBrokenBy(origin)
    if (rule !== null) report(rule, 'origins', origin)
  }
  if (!list.includes('*')) return
  if (credentials) report('CORS-WILDCARD-CREDENTIALS', 'origins', '* with credentials')
  if (privateNetwork) report('CORS-PRIVATE-NETWORK', 'privateNetwork', '* with privateNetwork')
}

function ruleBrokenBy(origin: unknown): RuleId | null {
  if (origin === '*') return null
  if (origin instanceof RegExp) return 'CORS-REGEXP'
  if (typeof origin !== 'string') return 'CORS-REFLECT'
  if (origin === 'null') return 'CORS-NULL'
  if (origin.includes('*')) return ruleBrokenByPattern(origin)
  if (!isOrigin(origin)) return 'CORS-ORIGIN-FORM'
  return isSecureOrigin(origin) ? null : 'CORS-INSECURE-ORIGIN'
}

/** Suffixes under which anyone can register a name. Every top-level domain is one as well. */
const PUBLIC_SUFFIXES = new Set(
  (
    'co.uk org.uk com.au co.jp co.nz com.br co.in co.za github.io gitlab.io pages.dev workers.dev web.app ' +
    'firebaseapp.com appspot.com herokuapp.com vercel.app netlify.app azurewebsites.net blogspot.com ' +
    'cloudfront.net s3.amazonaws.com onrender.com fly.dev ngrok.io ngrok.app surge.sh glitch.me'
  ).split(' '),
)

function ruleBrokenByPattern(pattern: string): RuleId | null {
  const [, domain] = /^https?:\/\/\*\.([^*]+)$/.exec(pattern) ?? []
  if (domain === undefined || !isOrigin(`https://${domain}`)) return 'CORS-PATTERN'
  if (!pattern.startsWith('https:')) return 'CORS-INSECURE-ORIGIN'
  const [host = ''] = domain.split(':')
  return !host.includes('.') || PUBLIC_SUFFIXES.has(host) ? 'CORS-PUBLIC-SUFFIX' : null
}

/** @see Fetch, section 2.2.1, forbidden method */
const FORBIDDEN_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK'])

function lintMethods({ methods }: CorsSettings, report: Report): void {
  for (const method of methods) {
    if (method === '*') report('CORS-ANY-METHOD', 'methods', method)
    else if (!/^[A-Z]+$/.test(method) || FORBIDDEN_METHODS.has(method)) {
      report('CORS-METHOD-FORM', 'methods', method)
    }
  }
}

/** @see Fetch, section 2.2.2, forbidden request-header */
const FORBIDDEN_HEADERS =
  /^(?:(?:sec|proxy|access-control)-.*|accept-(?:charset|encoding)|connection|content-length|cookie2?|date|dnt|expect|host|keep-alive|origin|referer|set-cookie|te|trailer|transfer-encoding|upgrade|via)$/i

function lintHeaders({ allowedHeaders, exposedHeaders }: CorsSettings, report: Report): void {
  if (allowedHeaders.includes('*')) report('CORS-ANY-HEADER', 'allowedHeaders', '*')
  for (const name of allowedHeaders) {
    if (FORBIDDEN_HEADERS.test(name)) report('CORS-FORBIDDEN-HEADER', 'allowedHeaders', name)
  }
  if (exposedHeaders.includes('*')) report('CORS-EXPOSE-ANY', 'exposedHeaders', '*')
  const exposed = exposedHeaders.find((name) => /^set-cookie2?$/i.test(name))
  if (exposed !== undefined) report('CORS-EXPOSE-COOKIE', 'exposedHeaders', exposed)
}
