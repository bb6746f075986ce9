/** The options, their defaults and their readers. */
import {
  namedRoutePattern,
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type PrincipalMapping,
} from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { buildReader, type BuildOptions } from './build/options.ts'
import { corsReader, type CorsOptions } from './cors/options.ts'
import { PARAPET_SECURITY_HEADERS_INVALID_OPTION } from './errors.ts'
import { revealingHeaders } from './headers/revealing-headers.ts'
import type { IsolationScope } from './isolation/fetch-metadata.ts'
import { optionHints } from './option-hints.ts'
import { policyTable, type PolicyOptions } from './policy/options.ts'
import { presetNames } from './policy/policy.ts'
import { reasonReader, relaxReader } from './policy/relax.ts'
import { reportsReader, type ReportsOptions } from './reports/options.ts'
import { securityTxtReader, type SecurityTxtOptions } from './reports/security-txt.ts'
import type { SecurityHeadersRule } from './route-rule.ts'
import { tenantsReader, type TenantsOptions } from './tenants/options.ts'

export type { BuildOptions } from './build/options.ts'
export type { CorsOptions } from './cors/options.ts'
export type { ReportsOptions } from './reports/options.ts'
export type { SecurityTxtOptions } from './reports/security-txt.ts'
export type { TenantsOptions } from './tenants/options.ts'

/** A request; a name of its own keeps the published declarations short. */
export interface TenantRequest extends FastifyRequest {}

/** The options of `app.register`. */
export interface SecurityHeadersOptions extends PolicyOptions {
  /**
   * Rules of routes that other plugins declare: `'GET /docs'`, or `'GET /docs/**'` for all below it.
   * A route with a rule of its own keeps that rule. @default none
   */
  readonly routes?: Readonly<Record<string, SecurityHeadersRule>>
  /** The output of a bundler such as Vite. The preset `spa` needs it. @default none */
  readonly build?: BuildOptions
  /** Content-Security-Policy by tenant: compiled at first use, and kept. @default none */
  readonly tenants?: TenantsOptions<TenantRequest>
  /**
   * Why browsers reach the service over http, for instance in a closed network: 10 to 500
   * characters. Leaves out HSTS and `upgrade-insecure-requests`. @default it is reached over https
   */
  readonly plainHttp?: string
  /** Which other origins may read responses, and send what it lists by scripts. @default none */
  readonly cors?: CorsOptions
  /** Which requests from other sites are accepted. @default none but followed links */
  readonly isolation?: {
    /** @default 'same-origin' */
    readonly scope?: IsolationScope
    /** Origins that may send any request, also forms and WebSockets with cookies. @default none */
    readonly trustedOrigins?: readonly string[]
  }
  /** CSRF tokens for requests with a cookie. @default none: fetch metadata only */
  readonly csrf?: CsrfOptions
  /** A route that collects violation reports. @default none */
  readonly reports?: ReportsOptions
  /** How `Set-Cookie` headers are checked. @default `{ mode: 'report' }` */
  readonly cookies?: {
    /** `report`: a weak cookie emits an event. `strict`: the response fails with 500 as well. */
    readonly mode?: 'report' | 'strict' | 'off'
    /** Names of cookies that scripts may read, so that they need no `HttpOnly`. @default none */
    readonly readable?: readonly string[]
  }
  /** Redirects pages from http to https and refuses every other request over http. @default off */
  readonly https?: {
    /** Host names, with an optional port, that a redirect may go to. */
    readonly hosts: readonly string[]
  }
  /** Serves `/.well-known/security.txt`. @default none */
  readonly securityTxt?: SecurityTxtOptions
  /** The principal of a request, for an app that does not set `request.principal`. */
  readonly principal?: PrincipalMapping
  /** @default the system clock */
  readonly clock?: Clock
}

/** CSRF tokens for requests with a cookie. */
export interface CsrfOptions {
  /**
   * The plugin that stores the secret of a browser. Register it before this plugin.
   * @default '@fastify/cookie'
   */
  readonly sessionPlugin?: '@fastify/cookie' | '@fastify/session' | '@fastify/secure-session'
  /** The HMAC key that binds tokens to a user: 32 characters or more, equal in every replica. */
  readonly secret: string
  /** The name of the cookie under `@fastify/cookie`. @default '__Host-csrf' */
  readonly cookieName?: string
  /** The form field that may carry the token. @default none: only the header `csrf-token` */
  readonly formField?: string
}

/** Names of cookies. @see RFC 9110, section 5.6.2 */
const cookieNames = option.list(
  option.text({ pattern: /^[\w!#$%&'*+.^`|~-]+$/, form: 'the name of a cookie, such as "theme"' }),
  { default: [] },
)

const csrfReader = optionGroup({
  sessionPlugin: option.oneOf(['@fastify/cookie', '@fastify/session', '@fastify/secure-session'], {
    default: '@fastify/cookie',
  }),
  secret: option.text({ min: 32 }),
  cookieName: option.text({
    max: 64,
    pattern: /^[\w-]+$/,
    form: 'a name of letters, digits, _ and -',
    default: '__Host-csrf',
  }),
  formField: option.optional(
    option.text({ max: 64, pattern: /^[\w-]+$/, form: 'a name of letters, digits, _ and -' }),
  ),
})

/** The rules themselves are read where routes are compiled. */
const anyRule = option.custom<SecurityHeadersRule>(() => undefined)
const ruleMap = option.map(anyRule)
const routesReader: OptionReader<Readonly<Record<string, SecurityHeadersRule>>> = {
  fallback: { value: Object.freeze({}) },
  read: (value, path, faults) => {
    const rules = ruleMap.read(value, path, faults)
    for (const name of Object.keys(rules)) {
      if (!namedRoutePattern.test(name))
        faults.add(path, `must have keys such as 'GET /docs/**', got "${name}"`)
    }
    return rules
  },
}

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  preset: option.oneOf(presetNames, { default: 'api' }),
  ...policyTable,
  // The options may also keep a revealing header that is needed, for instance a trace id.
  relax: option.optional(relaxReader(revealingHeaders)),
  routes: routesReader,
  build: option.optional(buildReader),
  tenants: option.optional(tenantsReader<TenantRequest>()),
  plainHttp: option.optional(reasonReader),
  cors: option.optional(corsReader),
  isolation: optionGroup({
    scope: option.oneOf(['same-origin', 'same-site', 'cross-site'], { default: 'same-origin' }),
    trustedOrigins: option.list(option.text(), { default: [] }),
  }),
  csrf: option.optional(csrfReader),
  reports: option.optional(reportsReader),
  cookies: optionGroup({
    mode: option.oneOf(['report', 'strict', 'off'], { default: 'report' }),
    readable: cookieNames,
  }),
  https: option.optional(optionGroup({ hosts: option.list(option.text(), { min: 1 }) })),
  securityTxt: option.optional(securityTxtReader),
  principal: option.optional(option.callback<PrincipalMapping>()),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof SecurityHeadersOptions, OptionReader<unknown>>

/** The options with every default filled in. */
export type SecurityHeadersSettings = OptionSettings<typeof optionTable>

/** Reads the options, once, at boot. @throws PARAPET_SECURITY_HEADERS_INVALID_OPTION */
export function resolveOptions(options: unknown): SecurityHeadersSettings {
  const settings = readOptions(
    '@parapet/security-headers',
    options,
    optionTable,
    PARAPET_SECURITY_HEADERS_INVALID_OPTION,
    { hints: optionHints },
  )
  const faults = NEED_REPORTS.filter(
    (name) => settings[name] !== undefined && settings.reports === undefined,
  ).map(
    (name) =>
      `  "${name}" needs "reports": set that option as well, so that a route receives the reports`,
  )
  if (settings.preset === 'spa' && settings.build === undefined) {
    faults.push('  "preset" "spa" needs "build": name the folder that the bundler writes')
  }
  if (settings.plainHttp !== undefined && settings.https !== undefined) {
    faults.push('  "plainHttp" contradicts "https": remove one of the two options')
  }
  if (faults.length === 0) return settings
  throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION('@parapet/security-headers', faults.join('\n'))
}

/** Options whose only effect is a report. */
const NEED_REPORTS = [
  'networkErrorLogging',
  'openerPolicyReportOnly',
  'embedderPolicyReportOnly',
  'documentPolicyReportOnly',
] as const
