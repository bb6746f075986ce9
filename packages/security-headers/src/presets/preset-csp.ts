/** The Content-Security-Policy of each preset. */
import type { CspDirectives } from '../csp/directives.ts'

const NONE = ["'none'"]
const SELF = ["'self'"]

const OWN_RESOURCES = {
  'connect-src': SELF,
  'font-src': SELF,
  'img-src': SELF,
  'manifest-src': SELF,
  'media-src': SELF,
} as const

/** The policy of the preset `web`. */
export const WEB_CSP: CspDirectives = {
  'default-src': NONE,
  'script-src': ["'nonce'", "'strict-dynamic'", "'report-sample'"],
  'style-src': ["'self'", "'nonce'", "'report-sample'"],
  ...OWN_RESOURCES,
  // A worker needs a Trusted Types policy, and none may be created.
  'worker-src': NONE,
  'object-src': NONE,
  'base-uri': NONE,
  'form-action': SELF,
  'frame-ancestors': NONE,
  'require-trusted-types-for': ["'script'"],
  'trusted-types': NONE,
  'upgrade-insecure-requests': [],
}

/** The Trusted Types policies of frameworks, and the one that an app makes for its workers. */
const FRAMEWORK_POLICIES = [
  'default',
  'angular',
  'angular#bundler',
  'dompurify',
  'lit-html',
  'svelte-trusted-html',
  'vue',
]

/** The policy of the preset `spa`. */
export const SPA_CSP: CspDirectives = {
  ...WEB_CSP,
  // A bundler writes small files into the code as data: URLs.
  'font-src': ["'self'", 'data:'],
  'img-src': ["'self'", 'data:'],
  'worker-src': SELF,
  'trusted-types': FRAMEWORK_POLICIES,
}

/** The policy of the preset `api`. */
export const API_CSP: CspDirectives = {
  'default-src': NONE,
  'object-src': NONE,
  'base-uri': NONE,
  'form-action': NONE,
  'frame-ancestors': NONE,
  'upgrade-insecure-requests': [],
}

/** The policy of the preset `docs`. */
export const DOCS_CSP: CspDirectives = {
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

/** The policy of the preset `legacy`. */
export const LEGACY_CSP: CspDirectives = {
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
