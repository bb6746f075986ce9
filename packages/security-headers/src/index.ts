/**
 * Sets strict security headers on every response, and refuses requests from other sites. Policies are
 * checked and computed at boot; a request only copies names and values and compares a few headers.
 */
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import type { SiteData } from './http/replies/reply.ts'
import type { Rule } from './lint/rules.ts'
import type { SecurityHeadersOptions } from './options.ts'
import type { Explanation } from './route-catalog.ts'
import type { SecurityHeadersRule } from './route-rule.ts'

export type { CspDirective, CspDirectives } from './csp/directives.ts'
export * from './errors.ts'
// Without this line the published declarations would not include the types of the events.
export type * from './events.ts'
export type { SiteData } from './http/replies/reply.ts'
export type { Rule } from './lint/rules.ts'
export type * from './options.ts'
export type { PolicyOptions } from './policy/options.ts'
export type { PermissionFeature, Permissions } from './policy/permissions-policy.ts'
export type { PresetName, Waiver } from './policy/policy.ts'
export type { Explanation } from './route-catalog.ts'
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
  // Loaded when the plugin is registered, so that importing it costs little.
  const { install } = await import('./http/install.ts')
  await install(app, options, NAME)
}

/** The plugin. Register it with `await` before the routes. */
export const securityHeaders: FastifyPluginAsync<SecurityHeadersOptions> = fp(
  securityHeadersPlugin,
  { name: NAME, fastify: '5.x' },
)
export default securityHeaders
