/** The readers of what both the options and a route may say of a policy. */
import { option, optionGroup, type OptionReader } from '@parapet/kit'
import { policyHeaders } from './block.ts'
import type { CspDirective, CspDirectives } from './csp.ts'
import { checkAllowlistEntry, permissionFeatures, type Permissions } from './permissions.ts'
import {
  cacheControls,
  embedderPolicies,
  openerPolicies,
  referrerPolicies,
  resourcePolicies,
  type HstsSettings,
  type Waiver,
} from './policy.ts'
import type { PresetName } from './presets.ts'

/** What options and route config have in common. */
export interface PolicyOptions {
  /** Where to start from. @default 'api', and for a route what the app has */
  readonly preset?: PresetName
  /** Directives that replace those of the preset, each as a whole. */
  readonly csp?: CspDirectives
  /** A second, complete policy that browsers only report on. */
  readonly cspReportOnly?: CspDirectives
  /** Why `csp` is only reported on for now. @default it is enforced */
  readonly reportOnly?: string
  /** Inline scripts that run: `"'sha256-…'"`. */
  readonly scriptHashes?: readonly string[]
  /** Inline styles that apply: `"'sha256-…'"`. */
  readonly styleHashes?: readonly string[]
  /** HTML files and folders whose inline code is hashed at boot. */
  readonly hashFiles?: readonly string[]
  readonly hsts?: Partial<HstsSettings>
  readonly referrerPolicy?: (typeof referrerPolicies)[number]
  /** `Cross-Origin-Opener-Policy` */
  readonly openerPolicy?: (typeof openerPolicies)[number]
  /** `Cross-Origin-Embedder-Policy` */
  readonly embedderPolicy?: (typeof embedderPolicies)[number]
  /** `Cross-Origin-Resource-Policy` */
  readonly resourcePolicy?: (typeof resourcePolicies)[number]
  /** `X-Frame-Options`; `frame-ancestors` of the CSP must say the same. */
  readonly frameOptions?: 'deny' | 'sameorigin'
  /** Features that pages may use; all others stay denied. */
  readonly permissions?: Permissions
  /** Kinds of resources that load only with an integrity hash. @default none */
  readonly integrityPolicy?: readonly ('script' | 'style')[]
  /** Reports of failed requests; needs `reports`. @default none */
  readonly networkErrorLogging?: {
    readonly maxAgeSeconds: number
    readonly includeSubDomains?: boolean
  }
  /**
   * `no-store`: no reply is kept, unless its handler says otherwise and nobody is signed in.
   * `authenticated`: the same, for replies to someone signed in only. `handler`: the handler decides.
   */
  readonly cacheControl?: (typeof cacheControls)[number]
  /** Headers and directives to leave out, each with the reason why. */
  readonly relax?: Readonly<Record<string, string>>
  /** Rules of the lint that may be broken for a while. */
  readonly waivers?: readonly Waiver[]
}

/** A written reason: for whoever reads the configuration later. */
export const reason: OptionReader<string> = option.text({ min: 10, max: 500 })

/** `satisfies` keeps the list complete: a directive that the type lacks does not compile. */
export const directiveNames = Object.freeze([
  'base-uri',
  'child-src',
  'connect-src',
  'default-src',
  'font-src',
  'form-action',
  'frame-ancestors',
  'frame-src',
  'img-src',
  'manifest-src',
  'media-src',
  'object-src',
  'report-to',
  'report-uri',
  'require-trusted-types-for',
  'sandbox',
  'script-src',
  'script-src-attr',
  'script-src-elem',
  'style-src',
  'style-src-attr',
  'style-src-elem',
  'trusted-types',
  'upgrade-insecure-requests',
  'worker-src',
] as const satisfies readonly CspDirective[])

/** A map whose names are all known. */
function namedMap<T>(
  names: readonly string[],
  what: string,
  item: OptionReader<T>,
): OptionReader<Readonly<Record<string, T>>> {
  const map = option.map(item)
  return {
    read: (value, path, faults) => {
      const entries = map.read(value, path, faults)
      for (const name of Object.keys(entries)) {
        if (!names.includes(name)) faults.add(`${path}.${name}`, `is no ${what}`)
      }
      return entries
    },
  }
}

// A space, a semicolon or a comma would start another source, directive or policy, and browsers
// drop a policy with anything else that is not printable ASCII.
const source = option.text({ pattern: /^[!-+\--:<-~]+$/ })
const directives: OptionReader<CspDirectives> = namedMap(
  directiveNames,
  'directive of Content-Security-Policy',
  option.list(source, { max: 200 }),
)

const permissions: OptionReader<Permissions> = namedMap(
  permissionFeatures,
  'feature of Permissions-Policy',
  option.list(option.custom<'self'>(checkAllowlistEntry)),
)

/** Reasons by the name of what is left out. @param more names beside those of every policy. */
export function relaxReader(
  more: readonly string[],
): OptionReader<Readonly<Record<string, string>>> {
  const names = [...policyHeaders, ...directiveNames, ...more]
  return namedMap(names, 'header or directive of this plugin', reason)
}

const waiver: OptionReader<Waiver> = optionGroup({
  rule: option.text({ max: 64 }),
  reason: option.text({ max: 500 }),
  until: option.text({ pattern: /^\d{4}-\d\d-\d\d$/ }),
})

const TWO_YEARS = 63_072_000

/** One reader for each setting of a policy. */
export const policyTable = {
  csp: option.optional(directives),
  cspReportOnly: option.optional(directives),
  reportOnly: option.optional(reason),
  scriptHashes: option.list(source, { default: [] }),
  styleHashes: option.list(source, { default: [] }),
  hashFiles: option.list(option.text(), { default: [] }),
  hsts: option.optional(
    optionGroup({
      maxAgeSeconds: option.seconds({ min: 0, default: TWO_YEARS }),
      includeSubDomains: option.boolean({ default: true }),
      preload: option.boolean({ default: false }),
    }),
  ),
  referrerPolicy: option.optional(option.oneOf(referrerPolicies)),
  openerPolicy: option.optional(option.oneOf(openerPolicies)),
  embedderPolicy: option.optional(option.oneOf(embedderPolicies)),
  resourcePolicy: option.optional(option.oneOf(resourcePolicies)),
  frameOptions: option.optional(option.oneOf(['deny', 'sameorigin'])),
  permissions: option.optional(permissions),
  integrityPolicy: option.optional(option.list(option.oneOf(['script', 'style']))),
  networkErrorLogging: option.optional(
    optionGroup({
      maxAgeSeconds: option.seconds(),
      includeSubDomains: option.boolean({ default: false }),
    }),
  ),
  cacheControl: option.optional(option.oneOf(cacheControls)),
  relax: option.optional(relaxReader([])),
  waivers: option.list(waiver, { default: [] }),
}
