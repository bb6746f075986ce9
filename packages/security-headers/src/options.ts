/** The options, their defaults and their readers. */
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
  type PrincipalMapping,
} from '@parapet/kit'
import { corsReader, type CorsOptions } from './cors/options.ts'
import { PARAPET_SECURITY_HEADERS_INVALID_OPTION } from './errors.ts'
import { revealingHeaders } from './headers/revealing-headers.ts'
import type { IsolationScope } from './isolation/fetch-metadata.ts'
import { policyTable, type PolicyOptions } from './policy/options.ts'
import { presetNames } from './policy/policy.ts'
import { relaxReader } from './policy/relax.ts'
import { reportsReader, type ReportsOptions } from './reports/options.ts'
import { securityTxtReader, type SecurityTxtOptions } from './reports/security-txt.ts'

export type { CorsOptions } from './cors/options.ts'
export type { ReportsOptions } from './reports/options.ts'
export type { SecurityTxtOptions } from './reports/security-txt.ts'

/** The options of `app.register`. */
export interface SecurityHeadersOptions extends PolicyOptions {
  /** Which other origins may read responses. @default none */
  readonly cors?: CorsOptions
  /** Which requests from other sites are accepted. @default none but followed links */
  readonly isolation?: {
    /** @default 'same-origin' */
    readonly scope?: IsolationScope
    /** Origins that may send requests, in addition to those of `cors`. @default none */
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
const cookieNames = option.list(option.text({ pattern: /^[\w!#$%&'*+.^`|~-]+$/ }), { default: [] })

const csrfReader = optionGroup({
  sessionPlugin: option.oneOf(['@fastify/cookie', '@fastify/session', '@fastify/secure-session'], {
    default: '@fastify/cookie',
  }),
  secret: option.text({ min: 32 }),
  cookieName: option.text({ max: 64, pattern: /^[\w-]+$/, default: '__Host-csrf' }),
  formField: option.optional(option.text({ max: 64, pattern: /^[\w-]+$/ })),
})

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  preset: option.oneOf(presetNames, { default: 'api' }),
  ...policyTable,
  // The options may also keep a revealing header that is needed, for instance a trace id.
  relax: option.optional(relaxReader(revealingHeaders)),
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
  )
  if (settings.networkErrorLogging !== undefined && settings.reports === undefined) {
    throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
      '@parapet/security-headers',
      '  "networkErrorLogging" needs "reports": set that option as well, so that a route receives the reports',
    )
  }
  return settings
}
