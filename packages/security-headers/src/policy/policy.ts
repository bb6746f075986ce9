/** A policy: the complete settings from which the headers of a route are computed. */
import type { CspDirectives } from '../csp/directives.ts'
import type { CspSettings } from '../csp/effective-policies.ts'
import type { CacheControl } from './cache-control.ts'
import type { EmbedderPolicy, OpenerPolicy, ResourcePolicy } from './cross-origin.ts'
import type { HstsSettings } from './hsts.ts'
import type { NetworkErrorLogging } from './network-error-logging.ts'
import type { Permissions } from './permissions-policy.ts'
import type { ReferrerPolicy } from './referrer-policy.ts'

/** Permission to break one lint rule until a date. */
export interface Waiver {
  /** The id of the rule, for instance `CSP-STYLE-UNSAFE-INLINE`. */
  readonly rule: string
  /** Why the rule has to be broken, for later readers: at least 10 characters. */
  readonly reason: string
  /** The last day on which the waiver is valid, as `2027-03-01`: at most one year ahead. */
  readonly until: string
}

/** The names of the presets. */
export const presetNames = Object.freeze(['api', 'web', 'docs', 'legacy'] as const)

/**
 * `api`: data. `web`: pages. `docs`: Swagger UI. `legacy`: pages with inline code that cannot be
 * changed.
 */
export type PresetName = (typeof presetNames)[number]

/** A complete policy: every setting has a value. */
export interface Policy extends CspSettings {
  readonly preset: PresetName
  readonly hsts: HstsSettings
  readonly referrerPolicy: ReferrerPolicy
  readonly openerPolicy: OpenerPolicy
  readonly embedderPolicy: EmbedderPolicy
  readonly resourcePolicy: ResourcePolicy
  readonly frameOptions: 'deny' | 'sameorigin'
  readonly permissions: Permissions
  /** Whether `Origin-Agent-Cluster` asks the browser to isolate the origin from its site. */
  readonly originAgentCluster: boolean
  /** The kinds of resources that load only with an integrity hash. */
  readonly integrityPolicy: readonly ('script' | 'style')[]
  readonly networkErrorLogging: NetworkErrorLogging | null
  readonly cacheControl: CacheControl
  readonly waivers: readonly Waiver[]
  /** The preset, option or route that set each setting, by the name of the setting. */
  readonly setBy: Readonly<Record<string, string>>
}

/** The part of a policy that the options or a route rule set. The rest keeps its value. */
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
  /** Hash sources of allowed inline code: `'sha256-…'`. */
  readonly scriptHashes?: readonly string[]
  readonly styleHashes?: readonly string[]
}
