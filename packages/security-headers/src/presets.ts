/** The presets: each is the strictest policy that works for what it is named after. */
import type { CspDirectives } from './csp.ts'
import { noListedPermissions, noPermissions } from './permissions.ts'
import type { Policy } from './policy.ts'

/** The presets by name. */
export const presetNames = Object.freeze(['api', 'web', 'docs', 'legacy'] as const)

/** `api`: data. `web`: pages. `docs`: Swagger UI. `legacy`: pages whose inline code nobody can change. */
export type PresetName = (typeof presetNames)[number]

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

/** A preset, and what the lint lets it do because that is what it is for. */
export interface Preset {
  readonly policy: PresetPolicy
  readonly accepts: readonly string[]
  /** Whether its replies are pages that a browser may be sent to again over https. */
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
  // Swagger UI writes style attributes.
  'style-src': ["'self'", "'unsafe-inline'"],
  ...OWN_RESOURCES,
  // Its icons are data: URLs.
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

/** The presets. */
export const presets: Readonly<Record<PresetName, Preset>> = Object.freeze({
  api: {
    policy: {
      ...CLOSED,
      csp: API_CSP,
      // Both are about pages: each reply of data would pay for nothing.
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
      // What the page would break under `web`: the list of what is left to mend.
      cspReportOnly: WEB_CSP,
      referrerPolicy: 'strict-origin-when-cross-origin',
      openerPolicy: 'same-origin-allow-popups',
      // Images and frames of strangers carry no CORP.
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
