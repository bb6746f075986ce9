/**
 * Gives every reply of a Fastify app the strictest headers, and refuses requests of other sites.
 *
 * Policies are judged and computed at boot, by csp_evaluator, own rules and @fastify/helmet; the
 * request path copies names and values and compares a few headers.
 */
import { declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { decorateReplies, kEntry, type RouteConfig, type SiteData } from './reply-hooks.ts'
import { createCatalog, type Explanation } from './catalog.ts'
import { compileCors } from './cors.ts'
import { refuseTokens, useCsrf } from './csrf-hooks.ts'
import { events } from './events.ts'
import { useGuards } from './guard-hooks.ts'
import { resolveOptions, type SecurityHeadersOptions } from './options.ts'
import { useRawReplies } from './raw-hooks.ts'
import { createHelmetRecorder, recordCors } from './recording-hooks.ts'
import type { SecurityHeadersRule } from './route-rule.ts'
import { addRoutes } from './routes.ts'
import { rules, type Rule } from './rules.ts'

export * from './errors.ts'
// Keeps the typed events in the published declarations: an import that emits nothing would be dropped.
export type * from './events.ts'
export type { SiteData } from './reply-hooks.ts'
export type { Explanation } from './catalog.ts'
export type { CspDirective, CspDirectives } from './csp.ts'
export type * from './options.ts'
export type { PermissionFeature, Permissions } from './permissions.ts'
export type { PolicyOptions } from './policy-options.ts'
export type { Waiver } from './policy.ts'
export type { PresetName } from './presets.ts'
export type { SecurityHeadersRule } from './route-rule.ts'
export type { Rule } from './rules.ts'

/** What is at `app.securityHeaders`. */
export interface SecurityHeaders {
  /** The headers of replies for which there is no route: for `frameworkErrors` of the app. Frozen. */
  readonly headers: Readonly<Record<string, string>>
  /** Every rule of the lint, by its id: what a waiver may name. */
  readonly rules: Readonly<Record<string, Rule>>
  /**
   * Shows each header of a route, and the option that set it. Complete once the app is ready.
   *
   * @param url the pattern of the route: `/users/:id`. What is no route gets what a 404 gets.
   */
  explain(method: string, url: string): Explanation
}

declare module 'fastify' {
  interface FastifyInstance {
    securityHeaders: SecurityHeaders
  }
  interface FastifyReply {
    /**
     * The nonce of this reply, for scripts and styles alike: 128 random bits, drawn at the first
     * reading, which also opens the policy to it. The shape is that of @fastify/helmet.
     *
     * @throws PARAPET_SECURITY_HEADERS_NO_NONCE the policy has no place for one, or the headers left.
     */
    cspNonce: { script: string; style: string }
    /**
     * A CSRF token for the page.
     *
     * @throws PARAPET_SECURITY_HEADERS_NO_TOKEN the option `csrf` is off.
     */
    readonly csrfToken: string
    /** Tells the browser to forget what it keeps of this site. @default cache, cookies and storage */
    clearSiteData(...kinds: readonly SiteData[]): FastifyReply
  }
  interface FastifyContextConfig {
    /** What the route changes of the policy, and whom it is open to. */
    securityHeaders?: SecurityHeadersRule
  }
}

const NAME = '@parapet/security-headers'

async function securityHeadersPlugin(
  app: FastifyInstance,
  options: SecurityHeadersOptions,
): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'headers')
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const catalog = await createCatalog(settings, app.prefix, createHelmetRecorder())
  const cors = settings.cors === undefined ? null : await compileCors(settings.cors, recordCors)
  const { names, values } = catalog.base.block

  app.decorate('securityHeaders', {
    headers: Object.freeze(Object.fromEntries(names.map((name, index) => [name, values[index]!]))),
    rules,
    explain: (method, url) => catalog.explain(`${method.toUpperCase()} ${url}`),
  })
  app.addHook('onRoute', securityHeadersReadRoute)
  app.addHook('onReady', () => catalog.seal())
  const parts = { catalog, cors, settings, securityEvents, principalOf }
  useGuards(app, parts, decorateReplies(app, parts))
  if (settings.csrf === undefined) refuseTokens(app)
  else await useCsrf(app, settings.csrf, parts)
  useRawReplies(app, catalog.base.block)
  await addRoutes(app, settings, securityEvents)

  function securityHeadersReadRoute(route: RouteOptions): void {
    const raw = (route.config as RouteConfig | undefined)?.securityHeaders
    if (raw === undefined) return
    const entry = catalog.add(raw, [route.method].flat(), route.url)
    // A copy: the caller may share one config object among routes.
    route.config = { ...route.config, [kEntry]: entry } as RouteOptions['config'] & object
  }
}

/** The plugin. Register it with `await` before the routes. */
export const securityHeaders: FastifyPluginAsync<SecurityHeadersOptions> = fp(
  securityHeadersPlugin,
  { name: NAME, fastify: '5.x' },
)
export default securityHeaders
