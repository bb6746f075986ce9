/** The options, their defaults and their reader. */
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
import { PARAPET_SECURITY_HEADERS_INVALID_OPTION } from './errors.ts'
import type { IsolationScope } from './isolation.ts'
import { policyTable, relaxReader, type PolicyOptions } from './policy-options.ts'
import { presetNames } from './presets.ts'
import { revealingHeaders } from './revealing-headers.ts'

/** What `app.register` takes. */
export interface SecurityHeadersOptions extends PolicyOptions {
  /** Who may read replies from other origins. @default nobody */
  readonly cors?: CorsOptions
  /** Which requests of other sites come in. @default none but links that someone followed */
  readonly isolation?: {
    /** @default 'same-origin' */
    readonly scope?: IsolationScope
    /** Origins that may send requests, beside those of `cors`. @default none */
    readonly trustedOrigins?: readonly string[]
  }
  /** Tokens for requests that carry a cookie. @default none: fetch metadata alone */
  readonly csrf?: CsrfOptions
  /** A route that collects violation reports. @default none */
  readonly reports?: ReportsOptions
  /** How cookies are looked at. @default `{ mode: 'report' }` */
  readonly cookies?: {
    /** `report`: an event. `strict`: the reply fails. */
    readonly mode?: 'report' | 'strict' | 'off'
    /** Names of cookies that scripts are meant to read. @default none */
    readonly readable?: readonly string[]
  }
  /** Sends pages on to https and refuses everything else that came over http. @default off */
  readonly https?: {
    /** Host names that a redirect may go to. */
    readonly hosts: readonly string[]
  }
  /** Serves `/.well-known/security.txt`. @default none */
  readonly securityTxt?: SecurityTxtOptions
  /** Who is asking, in an app whose login does not set `request.principal`. @default nobody else */
  readonly principal?: PrincipalMapping
  /** @default the machine's clock */
  readonly clock?: Clock
}

/** Who may read replies from other origins. */
export interface CorsOptions {
  /** Origins as browsers send them, `https://*.example.com`, or `*`. @default none */
  readonly origins?: readonly string[]
  /** Asked for every origin that the list does not have. It must not throw. */
  readonly allowOrigin?: (origin: string) => boolean
  /** @default ['GET', 'HEAD', 'POST'] */
  readonly methods?: readonly string[]
  /** Request headers that pages may set. @default ['content-type'] */
  readonly allowedHeaders?: readonly string[]
  /** Headers of replies that pages may read. @default none */
  readonly exposedHeaders?: readonly string[]
  /** Whether cookies come along. @default false */
  readonly credentials?: boolean
  /** How long a browser keeps the answer to a preflight: seconds. @default 7200 */
  readonly maxAgeSeconds?: number
  /** Whether pages of the internet may reach this service in a private network. @default false */
  readonly privateNetwork?: boolean
}

/** Tokens for requests that carry a cookie. */
export interface CsrfOptions {
  /** Where the secret behind a token is kept; that plugin must be registered. @default '@fastify/cookie' */
  readonly sessionPlugin?: '@fastify/cookie' | '@fastify/session' | '@fastify/secure-session'
  /** Ties tokens to the signed-in user: at least 32 characters, the same in every instance. */
  readonly secret: string
  /** Name of the cookie, under `@fastify/cookie`. @default '__Host-csrf' */
  readonly cookieName?: string
  /** Field of a form that may carry the token. @default none: the header `csrf-token` only */
  readonly formField?: string
}

/** The route that collects violation reports. */
export interface ReportsOptions {
  /** @default '/_reports' */
  readonly path?: string
  /** Reports alike are told once in this time. @default 600 000, ten minutes */
  readonly windowMs?: number
  /** From everyone together. @default 600 */
  readonly maxPerMinute?: number
  /** From one client. @default 60 */
  readonly maxPerClientPerMinute?: number
  /** @default 65 536 */
  readonly maxBodyBytes?: number
}

/** What security.txt says. @see RFC 9116 */
export interface SecurityTxtOptions {
  readonly contact: readonly string[]
  /** An RFC 3339 time, at most a year ahead: `2027-06-30T00:00:00Z`. */
  readonly expires: string
  readonly encryption?: readonly string[]
  readonly acknowledgments?: readonly string[]
  readonly preferredLanguages?: readonly string[]
  readonly canonical?: readonly string[]
  readonly policy?: readonly string[]
  readonly hiring?: readonly string[]
}

const some = (values: readonly string[]) => option.list(option.text(), { default: values })
/** Names of headers and cookies. @see RFC 9110, section 5.6.2 */
const tokens = (values: readonly string[]) =>
  option.list(option.text({ pattern: /^[\w!#$%&'*+.^`|~-]+$/ }), { default: values })
/** Printable, in one line, without a space. @see RFC 3986, section 2 */
const uri = option.text({ pattern: /^[!-~]+$/ })
const uris = option.list(uri, { default: [], max: 20 })
/** @see RFC 5646, section 2.1 */
const languages = option.list(option.text({ pattern: /^[a-z]{1,8}(?:-[a-z0-9]{1,8})*$/i }), {
  default: [],
  max: 20,
})

const cors = optionGroup({
  // Read by the lint, which says of each kind of mistake what it would have let in.
  origins: option.custom<readonly string[]>(() => undefined, { default: [] }),
  allowOrigin: option.optional(option.callback<(origin: string) => boolean>()),
  methods: some(['GET', 'HEAD', 'POST']),
  allowedHeaders: tokens(['content-type']),
  exposedHeaders: tokens([]),
  credentials: option.boolean({ default: false }),
  maxAgeSeconds: option.seconds({ min: 0, default: 7200 }),
  privateNetwork: option.boolean({ default: false }),
})

/** One reader for each option; a test compares the table with the README. */
export const optionTable = {
  preset: option.oneOf(presetNames, { default: 'api' }),
  ...policyTable,
  // A revealing header that is needed, such as a trace id, is let out by the same word.
  relax: option.optional(relaxReader(revealingHeaders)),
  cors: option.optional(cors),
  isolation: optionGroup({
    scope: option.oneOf(['same-origin', 'same-site', 'cross-site'], { default: 'same-origin' }),
    trustedOrigins: some([]),
  }),
  csrf: option.optional(
    optionGroup({
      sessionPlugin: option.oneOf(
        ['@fastify/cookie', '@fastify/session', '@fastify/secure-session'],
        { default: '@fastify/cookie' },
      ),
      secret: option.text({ min: 32 }),
      cookieName: option.text({ max: 64, pattern: /^[\w-]+$/, default: '__Host-csrf' }),
      formField: option.optional(option.text({ max: 64, pattern: /^[\w-]+$/ })),
    }),
  ),
  reports: option.optional(
    optionGroup({
      path: option.text({ pattern: /^(?:\/(?!\.{1,2}(?:\/|$))[\w.-]+)+$/, default: '/_reports' }),
      windowMs: option.milliseconds({ default: 600_000 }),
      maxPerMinute: option.integer({ min: 1, max: 100_000, default: 600 }),
      maxPerClientPerMinute: option.integer({ min: 1, max: 100_000, default: 60 }),
      maxBodyBytes: option.bytes({ max: 1_048_576, default: 65_536 }),
    }),
  ),
  cookies: optionGroup({
    mode: option.oneOf(['report', 'strict', 'off'], { default: 'report' }),
    readable: tokens([]),
  }),
  https: option.optional(optionGroup({ hosts: option.list(option.text(), { min: 1 }) })),
  securityTxt: option.optional(
    optionGroup({
      contact: option.list(uri, { min: 1, max: 20 }),
      expires: option.text({
        pattern: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/,
      }),
      encryption: uris,
      acknowledgments: uris,
      preferredLanguages: languages,
      canonical: uris,
      policy: uris,
      hiring: uris,
    }),
  ),
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
      '  networkErrorLogging: needs "reports", which says where they go',
    )
  }
  return settings
}
