/** The lint of settings of the whole app: CORS, isolation, cookies, https and security.txt. */
import type { CorsSettings } from '../cors/options.ts'
import { isOrigin, isSecureOrigin } from '../cors/origin.ts'
import { looksLikeSession } from '../headers/set-cookie.ts'
import type { SecurityTxt } from '../reports/security-txt.ts'
import { lintCors } from './cors.ts'
import type { Finding } from './rules.ts'
import { lintSecurityTxt } from './security-txt.ts'

/** The settings that the lint checks. */
export interface LintedSettings {
  readonly cors: CorsSettings | undefined
  readonly isolation: { readonly scope: string; readonly trustedOrigins: readonly string[] }
  readonly cookies: { readonly mode: string; readonly readable: readonly string[] }
  readonly https: { readonly hosts: readonly string[] } | undefined
  readonly securityTxt: SecurityTxt | undefined
}

/** Finds the rules that the settings of an app break. @param now milliseconds since the epoch. */
export function lintApp(settings: LintedSettings, now: number): Finding[] {
  const { cors, securityTxt } = settings
  return [
    ...(cors === undefined ? [] : lintCors(cors)),
    ...lintIsolation(settings.isolation),
    ...lintCookies(settings.cookies),
    ...lintHttps(settings.https?.hosts ?? []),
    ...(securityTxt === undefined ? [] : lintSecurityTxt(securityTxt, now)),
  ]
}

function lintIsolation({ scope, trustedOrigins }: LintedSettings['isolation']): Finding[] {
  const where = 'option isolation'
  const open: Finding[] =
    scope === 'cross-site' ? [{ rule: 'ISOLATION-OPEN', where, found: scope }] : []
  const untrustworthy = trustedOrigins
    .filter((origin) => !isOrigin(origin) || !isSecureOrigin(origin))
    .map((found): Finding => ({ rule: 'ISOLATION-TRUST', where, found }))
  return [...open, ...untrustworthy]
}

function lintCookies({ mode, readable }: LintedSettings['cookies']): Finding[] {
  const off: Finding[] =
    mode === 'off' ? [{ rule: 'COOKIE-AUDIT-OFF', where: 'option cookies.mode', found: mode }] : []
  const sessions = readable
    .filter((name) => looksLikeSession(name))
    .map((found): Finding => ({
      rule: 'COOKIE-READABLE-SESSION',
      where: 'option cookies.readable',
      found,
    }))
  return [...off, ...sessions]
}

function lintHttps(hosts: readonly string[]): Finding[] {
  return hosts
    .filter((host) => !isOrigin(`https://${host}`))
    .map((found) => ({ rule: 'HTTPS-HOST', where: 'option https.hosts', found }))
}
