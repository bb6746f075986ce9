/** The presets. Each is the strictest policy that works for its kind of response. */
import type { CspDirectives } from '../csp/directives.ts'
import { defaultHsts } from '../policy/hsts.ts'
import {
  noListedPermissions,
  noPermissions,
  pagePermissions,
} from '../policy/permissions-policy.ts'
import type { Policy, PresetName } from '../policy/policy.ts'
import { API_CSP, DOCS_CSP, LEGACY_CSP, SPA_CSP, WEB_CSP } from './preset-csp.ts'

type PresetPolicy = Pick<
  Policy,
  | 'csp'
  | 'referrerPolicy'
  | 'openerPolicy'
  | 'embedderPolicy'
  | 'resourcePolicy'
  | 'frameOptions'
  | 'cacheControl'
  | 'permissions'
  | 'originAgentCluster'
> &
  Partial<Pick<Policy, 'integrityPolicy'>> & { readonly cspReportOnly?: CspDirectives }

/** A preset. */
export interface Preset {
  readonly policy: PresetPolicy
  /** The ids of the lint rules that this preset breaks by design. */
  readonly accepts: readonly string[]
  /** Whether its responses are pages. Requests for pages may be redirected from http to https. */
  readonly pages: boolean
}

const CLOSED = {
  referrerPolicy: 'no-referrer',
  openerPolicy: 'same-origin',
  embedderPolicy: 'require-corp',
  resourcePolicy: 'same-origin',
  frameOptions: 'deny',
  cacheControl: 'no-store',
  permissions: noPermissions,
  originAgentCluster: true,
} as const

/** The presets by name. */
export const presets: Readonly<Record<PresetName, Preset>> = Object.freeze({
  api: {
    policy: {
      ...CLOSED,
      csp: API_CSP,
      // These features and this header only affect pages; leaving them out makes responses smaller.
      permissions: noListedPermissions,
      originAgentCluster: false,
    },
    accepts: [],
    pages: false,
  },
  web: {
    policy: { ...CLOSED, csp: WEB_CSP, permissions: pagePermissions },
    accepts: [],
    pages: true,
  },
  spa: {
    policy: {
      ...CLOSED,
      csp: SPA_CSP,
      permissions: pagePermissions,
      // Not styles: a bundler loads the styles of a chunk without a hash.
      integrityPolicy: Object.freeze(['script'] as const),
    },
    accepts: [],
    pages: true,
  },
  docs: {
    policy: { ...CLOSED, csp: DOCS_CSP, cacheControl: 'authenticated' },
    accepts: ['CSP-SCRIPT-ALLOWLIST-BYPASS', 'CSP-STYLE-UNSAFE-INLINE'],
    pages: true,
  },
  legacy: {
    policy: {
      ...CLOSED,
      csp: LEGACY_CSP,
      // The reports show what still has to change before the page can use `web`.
      cspReportOnly: WEB_CSP,
      referrerPolicy: 'strict-origin-when-cross-origin',
      openerPolicy: 'same-origin-allow-popups',
      // Images and frames of other sites usually have no CORP header.
      embedderPolicy: 'unsafe-none',
      resourcePolicy: 'same-site',
      frameOptions: 'sameorigin',
      cacheControl: 'authenticated',
    },
    accepts: [
      'CSP-SCRIPT-UNSAFE-INLINE',
      'CSP-SCRIPT-ALLOWLIST-BYPASS',
      'CSP-STYLE-UNSAFE-INLINE',
      'HEADER-EMBEDDER',
    ],
    pages: true,
  },
})

/** The settings that are the same in every preset. */
const COMMON = {
  cspReportOnly: null,
  reportOnly: null,
  openerPolicyReportOnly: null,
  embedderPolicyReportOnly: null,
  documentPolicy: null,
  documentPolicyReportOnly: null,
  plainHttp: null,
  externalScripts: Object.freeze([]),
  hsts: defaultHsts,
  integrityPolicy: Object.freeze([]),
  networkErrorLogging: null,
  relax: Object.freeze({}),
  passHeaders: Object.freeze({}),
  waivers: Object.freeze([]),
} as const

/** The complete policy of a preset. */
export function presetPolicy(preset: PresetName): Policy {
  const policy = { preset, ...COMMON, ...presets[preset].policy }
  const setBy = Object.fromEntries(Object.keys(policy).map((key) => [key, `preset ${preset}`]))
  return { ...policy, setBy }
}
