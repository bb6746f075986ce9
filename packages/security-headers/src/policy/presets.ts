/** The presets. Each is the strictest policy that works for its kind of response. */
import type { CspDirectives } from '../csp/directives.ts'
import { defaultHsts } from './hsts.ts'
import { noListedPermissions, noPermissions } from './permissions-policy.ts'
import type { Policy, PresetName } from './policy.ts'

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
> & { readonly cspReportOnly?: CspDirectives }

/** A preset. */
export interface Preset {
  readonly policy: PresetPolicy
  /** The ids of the lint rules that this preset breaks by design. */
  readonly accepts: readonly string[]
  /** Whether its responses are pages. Requests for pages may be redirected from http to https. */
  readonly pages: boolean
}

const NONE = ["'none'"]
const SELF = ["'self'"]

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

const OWN_RESOURCES = {
  'connect-src': SELF,
  'font-src': SELF,
  'img-src': SELF,
  'manifest-src': SELF,
  'media-src': SELF,
} as const

const WEB_CSP: CspDirectives = {
  'default-src': NONE,
  'script-src': ["'nonce'", "'strict-dynamic'", "'report-sample'"],
  'style-src': ["'self'", "'nonce'", "'report-sample'"],
  ...OWN_RESOURCES,
  'worker-src': SELF,
  'object-src': NONE,
  'base-uri': NONE,
  'form-action': SELF,
  'frame-ancestors': NONE,
  'require-trusted-types-for': ["'script'"],
  'trusted-types': NONE,
  'upgrade-insecure-requests': [],
}

const API_CSP: CspDirectives = {
  'default-src': NONE,
  'object-src': NONE,
  'base-uri': NONE,
  'form-action': NONE,
  'frame-ancestors': NONE,
  'upgrade-insecure-requests': [],
}

const DOCS_CSP: CspDirectives = {
  'default-src': NONE,
  'script-src': SELF,
  // Swagger UI uses style attributes.
  'style-src': ["'self'", "'unsafe-inline'"],
  ...OWN_RESOURCES,
  // The icons of Swagger UI are data: URLs.
  'img-src': ["'self'", 'data:'],
  'object-src': NONE,
  'base-uri': NONE,
  'form-action': NONE,
  'frame-ancestors': NONE,
  'upgrade-insecure-requests': [],
}

const LEGACY_CSP: CspDirectives = {
  'default-src': SELF,
  'script-src': ["'self'", "'unsafe-inline'"],
  'style-src': ["'self'", "'unsafe-inline'"],
  'img-src': ["'self'", 'data:'],
  'object-src': NONE,
  'base-uri': SELF,
  'form-action': SELF,
  'frame-ancestors': SELF,
  'upgrade-insecure-requests': [],
}

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
  web: { policy: { ...CLOSED, csp: WEB_CSP }, accepts: [], pages: true },
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
  hsts: defaultHsts,
  integrityPolicy: Object.freeze([]),
  networkErrorLogging: null,
  relax: Object.freeze({}),
  waivers: Object.freeze([]),
} as const

/** The complete policy of a preset. */
export function presetPolicy(preset: PresetName): Policy {
  const policy = { preset, ...COMMON, ...presets[preset].policy }
  const setBy = Object.fromEntries(Object.keys(policy).map((key) => [key, `preset ${preset}`]))
  return { ...policy, setBy }
}
