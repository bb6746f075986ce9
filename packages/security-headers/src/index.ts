/**
 * Sets strict security headers on every response, and refuses requests from other sites. Policies are
 * checked and computed at boot; a request only copies names and values and compares a few headers.
 */
import { compileRouteRule, declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { createCatalog, type Explanation } from './catalog.ts'
import { compileCors } from './cors/cors.ts'
import { events } from './events.ts'
import type { RouteEntry } from './headers/route-entry.ts'
import { addCsrf, addMissingCsrf } from './http/csrf.ts'
import { addGuard } from './http/guard.ts'
import { addRawReplies } from './http/raw-replies.ts'
import { createHelmetRecorder, recordCors } from './http/recorders.ts'
import { decorateReply, type SiteData } from './http/reply.ts'
import { addReportsRoute, addSecurityTxtRoute } from './http/routes.ts'
import { rules, type Rule } from './lint/rules.ts'
import { resolveOptions, type SecurityHeadersOptions } from './options.ts'
import type { SecurityHeadersRule } from './route-rule.ts'

export type { Explanation } from './catalog.ts'
export type { CspDirective, CspDirectives } from './csp/directives.ts'
export * from './errors.ts'
// Without this line the published declarations would not include the types of the events.
export type * from './events.ts'
export type { SiteData } from './http/reply.ts'
export type { Rule } from './lint/rules.ts'
export type * from './options.ts'
export type { PolicyOptions } from './policy/options.ts'
export type { PermissionFeature, Permissions } from './policy/permissions-policy.ts'
export type { PresetName, Waiver } from './policy/policy.ts'
export type { SecurityHeadersRule } from './route-rule.ts'

/** The decorator `app.securityHeaders`. */
export interface SecurityHeaders {
  /** The headers of responses without a route, for the `frameworkErrors` handler. Frozen. */
  readonly headers: Readonly<Record<string, string>>
  /** Every lint rule by its id. A waiver names one of these ids. */
  readonly rules: Readonly<Record<string, Rule>>
  /**
   * The headers of a route, and what set each of them. Complete once the app is ready.
   *
   * @param url the pattern of the route: `/users/:id`. For an unknown route the result shows the
   *   headers of a 404 response.
   */
  explain(method: string, url: string): Explanation
}

declare module 'fastify' {
  interface FastifyInstance {
    securityHeaders: SecurityHeaders
  }
  interface FastifyReply {
    /**
     * The nonce of this response: 128 random bits in base64, the same for scripts and styles. It is
     * created at the first access, which also adds it to the policy. Same shape as @fastify/helmet.
     *
     * @throws PARAPET_SECURITY_HEADERS_NO_NONCE the policy has no source `'nonce'`, or the headers
     *   are already sent.
     */
    cspNonce: { script: string; style: string }
    /**
     * A CSRF token for the page, bound to the principal of the request.
     *
     * @throws PARAPET_SECURITY_HEADERS_NO_TOKEN the option `csrf` is not set.
     */
    readonly csrfToken: string
    /** Tells the browser to delete data of this site. @default cache, cookies and storage */
    clearSiteData(...kinds: readonly SiteData[]): FastifyReply
  }
  interface FastifyContextConfig {
    /** The policy settings of the route, and which other sites may send requests. */
    securityHeaders?: SecurityHeadersRule
  }
}

const NAME = '@parapet/security-headers'

async function securityHeadersPlugin(
  app: FastifyInstance,
  options: SecurityHeadersOptions,
): Promise<void> {
  const settings = resolveOptions(options)
  const { clock, csrf, reports, securityTxt, relax = {} } = settings
  declarePhase(app, NAME, 'headers')
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const catalog = await createCatalog(settings, app.prefix, createHelmetRecorder())
  const { base } = catalog
  const cors = settings.cors === undefined ? null : await compileCors(settings.cors, recordCors)
  const routeRules = compileRouteRule<RouteEntry>(app, {
    plugin: NAME,
    key: 'securityHeaders',
    compile: catalog.add,
  })
  const parts = { base, rules: routeRules, cors, securityEvents, principalOf }
  const headers = Object.fromEntries(base.block.explained.map(({ name, value }) => [name, value]))

  app.decorate('securityHeaders', {
    headers: Object.freeze(headers),
    rules,
    explain: (method, url) => catalog.explain(`${method.toUpperCase()} ${url}`),
  })
  app.addHook('onReady', catalog.seal)
  addGuard(app, parts, settings, decorateReply(app, parts, { relax, cookies: settings.cookies }))
  if (csrf === undefined) addMissingCsrf(app)
  else addCsrf(app, csrf, parts)
  addRawReplies(app, base.block)
  if (reports !== undefined) await addReportsRoute(app, reports, clock, securityEvents)
  if (securityTxt !== undefined) addSecurityTxtRoute(app, securityTxt, clock, securityEvents)
}

/** The plugin. Register it with `await` before the routes. */
export const securityHeaders: FastifyPluginAsync<SecurityHeadersOptions> = fp(
  securityHeadersPlugin,
  { name: NAME, fastify: '5.x' },
)
export default securityHeaders
