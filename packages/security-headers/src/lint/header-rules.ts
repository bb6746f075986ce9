/** The lint rules for the other headers of a policy. */
import type { RuleTexts } from './rule-texts.ts'

/** Every rule for HSTS, cross-origin headers, permissions and caching. */
export const headerRules = {
  'HSTS-SHORT': [
    'browsers forget the setting in less than a year',
    'set hsts.maxAgeSeconds to at least 31536000',
  ],
  'HSTS-PRELOAD': [
    'the preload list requires includeSubDomains and at least one year',
    'set both, or remove preload',
  ],
  'HSTS-SUBDOMAINS': [
    'a subdomain over http can set cookies for this host',
    'set hsts.includeSubDomains to true',
  ],
  'HSTS-RELAXED': ['the first request of every visit may use http', 'keep the header'],
  'HEADER-NOSNIFF': [
    'browsers may guess the type of data and run it as a script',
    'keep X-Content-Type-Options',
  ],
  'HEADER-REFERRER': [
    'paths and queries are sent to other origins',
    'use strict-origin-when-cross-origin or a stricter value',
  ],
  'HEADER-OPENER': [
    'pages of other sites keep a reference to the window',
    'use same-origin or same-origin-allow-popups',
  ],
  'HEADER-EMBEDDER': [
    'the page shares a process with the content that it embeds',
    'use require-corp or credentialless',
  ],
  'HEADER-RESOURCE': [
    'any site can embed the response and measure it',
    'use same-origin or same-site',
  ],
  'HEADER-FRAME-MISMATCH': [
    'X-Frame-Options and frame-ancestors differ, so browsers behave differently',
    'give both the same meaning',
  ],
  'PERMISSION-WILDCARD': ['every frame may use the feature', "list origins or use 'self'"],
  'PERMISSION-HTTP': ['an origin over http can be impersonated', 'use https'],
  'CACHE-HANDLER': [
    'a response for one user may be stored and shown to another',
    "use 'authenticated' or 'no-store'",
  ],
} as const satisfies RuleTexts
