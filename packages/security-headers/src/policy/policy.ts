/** A policy: the complete settings from which the headers of a route are computed. */
import type { CspDirectives } from '../csp/directives.ts'
import type { CspSettings } from '../csp/effective-policies.ts'
import type { CacheControl } from './cache-control.ts'
import type { EmbedderPolicy, OpenerPolicy, ResourcePolicy } from './cross-origin.ts'
import type { DocumentPolicy } from './document-policy.ts'
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
export const presetNames = Object.freeze(['api', 'web', 'spa', 'docs', 'legacy'] as const)

/**
 * `api`: data. `web`: pages. `spa`: the build of a bundler. `docs`: Swagger UI and Scalar. `legacy`: pages with inline code that cannot be
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
  /** Values that browsers only report on. `null`: that header is not sent. */
  readonly openerPolicyReportOnly: OpenerPolicy | null
  readonly embedderPolicyReportOnly: EmbedderPolicy | null
  readonly documentPolicy: DocumentPolicy | null
  readonly documentPolicyReportOnly: DocumentPolicy | null
  readonly resourcePolicy: ResourcePolicy
  readonly frameOptions: 'deny' | 'sameorigin'
  readonly permissions: Permissions
  /** Script files that pages of `hashFiles` load without a hash or a nonce. */
  readonly externalScripts: readonly string[]
  /** Why the service is reached over http. `null`: it is reached over https. */
  readonly plainHttp: string | null
  /** Whether `Origin-Agent-Cluster` asks the browser to isolate the origin from its site. */
  readonly originAgentCluster: boolean
  /** The kinds of resources that load only with an integrity hash. */
  readonly integrityPolicy: readonly ('script' | 'style')[]
  readonly networkErrorLogging: NetworkErrorLogging | null
  readonly cacheControl: CacheControl
  readonly waivers: readonly Waiver[]
  /** Reasons by the name of each header that thrown errors and upstream responses may replace. */
  readonly passHeaders: Readonly<Record<string, string>>
  /** The preset, option or route that set each setting, by the name of the setting. */
  readonly setBy: Readonly<Record<string, string>>
}

type Nullable =
  | 'openerPolicyReportOnly'
  | 'embedderPolicyReportOnly'
  | 'documentPolicy'
  | 'documentPolicyReportOnly'
  | 'plainHttp'

/** The part of a policy that the options or a route rule set. The rest keeps its value. */
export interface PolicyLayer extends Partial<
  Omit<
    Policy,
    | 'cspReportOnly'
    | 'reportOnly'
    | 'networkErrorLogging'
    | 'setBy'
    | 'hsts'
    | 'permissions'
    | 'passHeaders'
    | Nullable
  >
> {
  readonly cspReportOnly?: CspDirectives | undefined
  readonly reportOnly?: string | undefined
  readonly hsts?: HstsSettings | undefined
  readonly permissions?: Permissions | undefined
  readonly networkErrorLogging?: NetworkErrorLogging | undefined
  readonly passHeaders?: Readonly<Record<string, string>> | undefined
  readonly openerPolicyReportOnly?: OpenerPolicy | undefined
  readonly embedderPolicyReportOnly?: EmbedderPolicy | undefined
  readonly documentPolicy?: DocumentPolicy | undefined
  readonly documentPolicyReportOnly?: DocumentPolicy | undefined
  readonly plainHttp?: string | undefined
  /** Hash sources of the inline code of the option `build`, for policies of the preset `spa`. */
  readonly buildHashes?: { readonly scripts: readonly string[]; readonly styles: readonly string[] }
  /** Hash sources of allowed inline code: `'sha256-…'`. */
  readonly scriptHashes?: readonly string[]
  readonly styleHashes?: readonly string[]
}
