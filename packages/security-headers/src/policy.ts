/** A policy: what the headers of a route are to say, before anything is computed. */
import { addSources, type CspDirectives } from './csp.ts'
import type { Permissions } from './permissions.ts'
import { presets, type PresetName } from './presets.ts'

/** `Strict-Transport-Security`. @see RFC 6797, section 6.1 */
export interface HstsSettings {
  /** Seconds. @default 63 072 000, two years */
  readonly maxAgeSeconds: number
  /** @default true */
  readonly includeSubDomains: boolean
  /** Browsers then refuse http for good, and no release takes that back. @default false */
  readonly preload: boolean
}

/** `NEL`: browsers report requests that failed on the network. @see W3C Network Error Logging */
interface NetworkErrorLogging {
  /** Seconds that a browser remembers it. */
  readonly maxAgeSeconds: number
  /** @default false */
  readonly includeSubDomains: boolean
}

/** Leave to break one rule of the lint for a while. */
export interface Waiver {
  /** Id of the rule, for instance `CSP-STYLE-UNSAFE-INLINE`. */
  readonly rule: string
  /** Why it has to be: at least ten characters, for whoever reads it later. */
  readonly reason: string
  /** The last day it holds, as `2027-03-01`; at most a year ahead. */
  readonly until: string
}

/** Values of `Referrer-Policy`. */
export const referrerPolicies = Object.freeze([
  'no-referrer',
  'same-origin',
  'strict-origin',
  'strict-origin-when-cross-origin',
  'origin',
  'origin-when-cross-origin',
  'no-referrer-when-downgrade',
  'unsafe-url',
] as const)

/** Values of `Cross-Origin-Opener-Policy`. */
export const openerPolicies = Object.freeze([
  'same-origin',
  'same-origin-allow-popups',
  'unsafe-none',
] as const)

/** Values of `Cross-Origin-Embedder-Policy`. */
export const embedderPolicies = Object.freeze([
  'require-corp',
  'credentialless',
  'unsafe-none',
] as const)

/** Values of `Cross-Origin-Resource-Policy`. */
export const resourcePolicies = Object.freeze(['same-origin', 'same-site', 'cross-origin'] as const)

/** Who keeps replies out of caches. */
export const cacheControls = Object.freeze(['no-store', 'authenticated', 'handler'] as const)

/** A policy with nothing left open. */
export interface Policy {
  readonly preset: PresetName
  readonly csp: CspDirectives
  /** A second policy, only reported on. */
  readonly cspReportOnly: CspDirectives | null
  /** Why `csp` is only reported on and not enforced; `null`: it is enforced. */
  readonly reportOnly: string | null
  readonly hsts: HstsSettings
  readonly referrerPolicy: (typeof referrerPolicies)[number]
  readonly openerPolicy: (typeof openerPolicies)[number]
  readonly embedderPolicy: (typeof embedderPolicies)[number]
  readonly resourcePolicy: (typeof resourcePolicies)[number]
  readonly frameOptions: 'deny' | 'sameorigin'
  readonly permissions: Permissions
  /** Whether pages of one origin share no process with those of its site. */
  readonly originAgentCluster: boolean
  /** Kinds of resources that load only with an integrity hash. */
  readonly integrityPolicy: readonly ('script' | 'style')[]
  readonly networkErrorLogging: NetworkErrorLogging | null
  readonly cacheControl: (typeof cacheControls)[number]
  /** Reasons by the name of the header or directive that is left out. */
  readonly relax: Readonly<Record<string, string>>
  readonly waivers: readonly Waiver[]
  /** Which layer set what, by the name of the setting. */
  readonly setBy: Readonly<Record<string, string>>
}

/** What options or a route say of their policy; what they leave out stays as it was. */
export interface PolicyLayer extends Partial<
  Omit<
    Policy,
    'cspReportOnly' | 'reportOnly' | 'networkErrorLogging' | 'setBy' | 'hsts' | 'permissions'
  >
> {
  readonly cspReportOnly?: CspDirectives | undefined
  readonly reportOnly?: string | undefined
  readonly hsts?: HstsSettings | undefined
  readonly permissions?: Permissions | undefined
  readonly networkErrorLogging?: NetworkErrorLogging | undefined
  /** Sources of inline code that may run: `'sha256-…'`. */
  readonly scriptHashes?: readonly string[]
  readonly styleHashes?: readonly string[]
}

/** Who says what the options of the app say. */
export const OPTIONS = 'options'

/** What every preset has in common. */
const COMMON = {
  cspReportOnly: null,
  reportOnly: null,
  hsts: Object.freeze({ maxAgeSeconds: 63_072_000, includeSubDomains: true, preload: false }),
  integrityPolicy: Object.freeze([]),
  networkErrorLogging: null,
  relax: Object.freeze({}),
  waivers: Object.freeze([]),
} as const

/** The policy of a preset. */
export function policyOf(preset: PresetName): Policy {
  const policy = { preset, ...COMMON, ...presets[preset].policy }
  const setBy = Object.fromEntries(Object.keys(policy).map((key) => [key, `preset ${preset}`]))
  return { ...policy, setBy }
}

/** Settings that a route keeps from the app's options when it names another preset. */
const LASTING = new Set(['hsts', 'permissions', 'networkErrorLogging', 'waivers'])
const PLAIN = [
  'hsts',
  'referrerPolicy',
  'openerPolicy',
  'embedderPolicy',
  'resourcePolicy',
  'frameOptions',
  'integrityPolicy',
  'networkErrorLogging',
  'cacheControl',
  'cspReportOnly',
  'reportOnly',
] as const

/**
 * Lays a layer over a policy. `csp` and `permissions` are replaced directive by directive and
 * feature by feature; hashes, `relax` and `waivers` are added; everything else is replaced.
 *
 * @param name who says it, for `explain`.
 */
export function mergePolicy(base: Policy, layer: PolicyLayer, name: string): Policy {
  const changes: Record<string, unknown> = {}
  for (const key of PLAIN) if (layer[key] !== undefined) changes[key] = layer[key]
  const { csp, permissions, scriptHashes = [], styleHashes = [], relax, waivers } = layer
  if (csp !== undefined || scriptHashes.length + styleHashes.length > 0) {
    const merged = { ...base.csp, ...csp }
    const hashed = addSources(merged, 'script-src', scriptHashes)
    changes['csp'] = addSources(hashed, 'style-src', styleHashes)
  }
  if (permissions !== undefined) changes['permissions'] = { ...base.permissions, ...permissions }
  if (relax !== undefined) changes['relax'] = { ...base.relax, ...relax }
  if (waivers !== undefined) changes['waivers'] = [...base.waivers, ...waivers]
  return { ...base, ...changes, setBy: { ...base.setBy, ...sourcesOf(base, changes, name) } }
}

/** What the app's options keep of themselves under a preset that a route names. */
export function lastingPart(layer: PolicyLayer): PolicyLayer {
  return Object.fromEntries(Object.entries(layer).filter(([key]) => LASTING.has(key)))
}

/** `csp` is made by several layers, the rest by the last that spoke. */
function sourcesOf(base: Policy, changes: object, name: string): Record<string, string> {
  const entries = Object.keys(changes).map((key) => {
    const before = base.setBy[key]
    const merged = key === 'csp' || key === 'permissions'
    const setter = name === OPTIONS ? `option ${key}` : name
    return [key, merged && before !== undefined ? `${before} + ${setter}` : setter]
  })
  return Object.fromEntries(entries) as Record<string, string>
}
