/** What to write instead of the names of @fastify/helmet and @fastify/cors. */
import type { OptionHints } from '@parapet/kit'

const csp = `csp: { 'img-src': ["'self'"] }`
const hsts = 'hsts: { maxAgeSeconds: 31536000 }'
const without = (name: string) => `relax: { '${name}': 'why the header must be left out' }`

/** Names of helmet at the top level. A rule of a route has the same settings. */
const policyHints: OptionHints = {
  contentSecurityPolicy: csp,
  'content-security-policy': csp,
  directives: csp,
  enableCSPNonces: `csp: { 'script-src': ["'nonce'"] }, which the preset "web" has`,
  crossOriginEmbedderPolicy: `embedderPolicy: 'require-corp'`,
  crossOriginOpenerPolicy: `openerPolicy: 'same-origin'`,
  crossOriginResourcePolicy: `resourcePolicy: 'same-origin'`,
  frameguard: `frameOptions: 'deny'`,
  xFrameOptions: `frameOptions: 'deny'`,
  'x-frame-options': `frameOptions: 'deny'`,
  strictTransportSecurity: hsts,
  'strict-transport-security': hsts,
  permissionsPolicy: `permissions: { camera: ['self'] }`,
  featurePolicy: `permissions: { camera: ['self'] }`,
  originAgentCluster: without('origin-agent-cluster'),
  noSniff: without('x-content-type-options'),
  xContentTypeOptions: without('x-content-type-options'),
  dnsPrefetchControl: without('x-dns-prefetch-control'),
  xDnsPrefetchControl: without('x-dns-prefetch-control'),
  permittedCrossDomainPolicies: without('x-permitted-cross-domain-policies'),
  xPermittedCrossDomainPolicies: without('x-permitted-cross-domain-policies'),
  hidePoweredBy: 'nothing: X-Powered-By is always removed',
  xPoweredBy: 'nothing: X-Powered-By is always removed',
  xssFilter: 'nothing: X-XSS-Protection is never sent',
  xXssProtection: 'nothing: X-XSS-Protection is never sent',
  ieNoOpen: 'nothing: X-Download-Options is never sent',
  xDownloadOptions: 'nothing: X-Download-Options is never sent',
  'hsts.maxAge': 'hsts.maxAgeSeconds: 31536000',
  'hsts.max-age': 'hsts.maxAgeSeconds: 31536000',
  'hsts.includeSubdomains': 'hsts.includeSubDomains: true',
  'csp.directives': `${csp}, without "directives"`,
  'csp.useDefaults': `preset: 'web', whose directives csp replaces one by one`,
  'csp.reportOnly': `reportOnly: 'why the policy is not enforced yet'`,
  'networkErrorLogging.maxAge': 'networkErrorLogging.maxAgeSeconds: 86400',
}

/** Hints for the rule of a route. */
export const ruleHints: OptionHints = Object.freeze({
  ...policyHints,
  cors: `the option "cors" of the plugin, which applies to every route`,
  scope: `isolation: { scope: 'cross-site', reason: 'partners show it' }`,
})

/** Hints for the options. */
export const optionHints: OptionHints = Object.freeze({
  ...policyHints,
  global: 'nothing: the headers apply to every route below the plugin',
  origin: `cors: { origins: ['https://app.example.com'] }`,
  'cors.origin': `cors.origins: ['https://app.example.com']`,
  'cors.maxAge': 'cors.maxAgeSeconds: 7200',
  'cors.preflightContinue': 'nothing: preflight requests are always answered',
  'cors.optionsSuccessStatus': 'nothing: a preflight is answered with 204 or 403',
  'cors.strictPreflight': 'nothing: preflight requests are always checked',
  'csrf.sessionKey': `csrf.cookieName: '__Host-csrf'`,
  'csrf.cookieKey': `csrf.cookieName: '__Host-csrf'`,
  'csrf.csrfOpts': `csrf: { secret: '32 characters or more' }`,
})
