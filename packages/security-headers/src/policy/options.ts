/** The policy settings that both the options and a route rule accept. */
import { option, optionGroup, type OptionReader } from '@parapet/kit'
import { directiveNames, type CspDirectives } from '../csp/directives.ts'
import { cacheControls, type CacheControl } from './cache-control.ts'
import {
  embedderPolicies,
  openerPolicies,
  resourcePolicies,
  type EmbedderPolicy,
  type OpenerPolicy,
  type ResourcePolicy,
} from './cross-origin.ts'
import { documentPolicyReader, type DocumentPolicy } from './document-policy.ts'
import { hstsReader, type HstsSettings } from './hsts.ts'
import { namedMap } from './named-map.ts'
import { networkErrorLoggingReader } from './network-error-logging.ts'
import { permissionsReader, type Permissions } from './permissions-policy.ts'
import type { PresetName, Waiver } from './policy.ts'
import { referrerPolicies, type ReferrerPolicy } from './referrer-policy.ts'
import { passReader, reasonReader, relaxReader } from './relax.ts'

/** The settings that the options and a route rule have in common. */
export interface PolicyOptions {
  /** The preset to start from. @default 'api'; for a route the preset of the app */
  readonly preset?: PresetName
  /** Directives. Each one replaces the whole directive of the preset. */
  readonly csp?: CspDirectives
  /** A second, complete policy that browsers only report on. @default none */
  readonly cspReportOnly?: CspDirectives
  /** The reason why `csp` is only reported on for now. @default `csp` is enforced */
  readonly reportOnly?: string
  /** Hash sources of allowed inline scripts: `"'sha256-…'"`. @default none */
  readonly scriptHashes?: readonly string[]
  /** Hash sources of allowed inline styles: `"'sha256-…'"`. @default none */
  readonly styleHashes?: readonly string[]
  /** HTML files and folders whose inline code is hashed and allowed at boot. @default none */
  readonly hashFiles?: readonly string[]
  /** `Strict-Transport-Security`. @default two years with subdomains, without preload */
  readonly hsts?: Partial<HstsSettings>
  /** `Referrer-Policy` */
  readonly referrerPolicy?: ReferrerPolicy
  /** `Cross-Origin-Opener-Policy` */
  readonly openerPolicy?: OpenerPolicy
  /** `Cross-Origin-Embedder-Policy` */
  readonly embedderPolicy?: EmbedderPolicy
  /** A value that browsers only report on. Requires `reports`. @default none */
  readonly openerPolicyReportOnly?: OpenerPolicy
  /** A value that browsers only report on. Requires `reports`. @default none */
  readonly embedderPolicyReportOnly?: EmbedderPolicy
  /** `Document-Policy`, for instance `{ 'document-write': false }`. @default none */
  readonly documentPolicy?: DocumentPolicy
  /** A value that browsers only report on. Requires `reports`. @default none */
  readonly documentPolicyReportOnly?: DocumentPolicy
  /** `Cross-Origin-Resource-Policy` */
  readonly resourcePolicy?: ResourcePolicy
  /** `X-Frame-Options`. It must agree with the CSP directive `frame-ancestors`. */
  readonly frameOptions?: 'deny' | 'sameorigin'
  /** Features that pages may use. All other features stay denied. */
  readonly permissions?: Permissions
  /** Kinds of resources that load only with an integrity hash. @default none */
  readonly integrityPolicy?: readonly ('script' | 'style')[]
  /** Reports of requests that failed on the network. Requires `reports`. @default none */
  readonly networkErrorLogging?: {
    /** How long browsers keep reporting: seconds. */
    readonly maxAgeSeconds: number
    /** @default false */
    readonly includeSubDomains?: boolean
  }
  /**
   * `no-store`: no response is stored, except when it is not personal and the handler sets
   * `Cache-Control` itself. `authenticated`: the same, but only for personal responses: those for a
   * principal, and those with `Set-Cookie` or `Clear-Site-Data`. `handler`: the handler decides.
   * Always: a response with a nonce is not stored, and one with a CSRF token not by shared caches.
   */
  readonly cacheControl?: CacheControl
  /** Headers and directives to leave out, each with a reason of 10 to 500 characters. */
  readonly relax?: Readonly<Record<string, string>>
  /**
   * Headers that thrown errors and upstream responses may set in place of the block's, each with a
   * reason of 10 to 500 characters. @default none; such headers are dropped
   */
  readonly passHeaders?: Readonly<Record<string, string>>
  /** Lint rules that may be broken until a date. */
  readonly waivers?: readonly Waiver[]
}

// A space, semicolon or comma would start another source, directive or policy. Browsers ignore a
// policy with any other character that is not printable ASCII.
const source = option.text({
  pattern: /^[!-+\--:<-~]+$/,
  form: 'one source of printable ASCII without spaces, commas and semicolons',
})

/** Reads directives and their sources. */
export const directives: OptionReader<CspDirectives> = namedMap(
  directiveNames,
  'directive of Content-Security-Policy',
  option.list(source, { max: 200 }),
)

const waiver: OptionReader<Waiver> = optionGroup({
  rule: option.text({ max: 64 }),
  reason: option.text({ max: 500 }),
  until: option.text({ pattern: /^\d{4}-\d\d-\d\d$/, form: 'a date such as "2027-03-01"' }),
})

/** One reader for each setting of a policy, without `preset`. */
export const policyTable = {
  csp: option.optional(directives),
  cspReportOnly: option.optional(directives),
  reportOnly: option.optional(reasonReader),
  scriptHashes: option.list(source, { default: [] }),
  styleHashes: option.list(source, { default: [] }),
  hashFiles: option.list(option.text(), { default: [] }),
  hsts: option.optional(hstsReader),
  referrerPolicy: option.optional(option.oneOf(referrerPolicies)),
  openerPolicy: option.optional(option.oneOf(openerPolicies)),
  embedderPolicy: option.optional(option.oneOf(embedderPolicies)),
  openerPolicyReportOnly: option.optional(option.oneOf(openerPolicies)),
  embedderPolicyReportOnly: option.optional(option.oneOf(embedderPolicies)),
  documentPolicy: option.optional(documentPolicyReader),
  documentPolicyReportOnly: option.optional(documentPolicyReader),
  resourcePolicy: option.optional(option.oneOf(resourcePolicies)),
  frameOptions: option.optional(option.oneOf(['deny', 'sameorigin'])),
  permissions: option.optional(permissionsReader),
  integrityPolicy: option.optional(option.list(option.oneOf(['script', 'style']))),
  networkErrorLogging: option.optional(networkErrorLoggingReader),
  cacheControl: option.optional(option.oneOf(cacheControls)),
  relax: option.optional(relaxReader([])),
  passHeaders: option.optional(passReader),
  waivers: option.list(waiver, { default: [] }),
}
