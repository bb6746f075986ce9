/** The options of `@parapet/anomaly-guard`: where its state is, and what other plugins do for it. */
import { createHmac } from 'node:crypto'
import type { AnomalyGuardOptions, AnomalyRule } from '@parapet/anomaly-guard'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'

/**
 * Rules only record until an administrator promotes them: `PUT /security/rules/:name/mode`. The reports at
 * `GET /security/rules` say what each would have done.
 */
export function createAnomalyOptions(
  app: FastifyInstance,
  { sessionSecret }: Config,
): AnomalyGuardOptions {
  return {
    store: app.store,
    ...(sessionSecret === undefined ? undefined : { secret: derive(sessionSecret) }),
    // Texts of users may quote anything; they are stored by parameterised queries and returned as JSON.
    inspect: { fields: { 'body.body': 'skip', 'body.bio': 'skip' } },
    // A network that many people share is asked for a proof of work instead of being blocked.
    challenge: {},
    tighten: (key, factor, ttlMs) =>
      app.rateLimits.tighten(limitedBy(key), factor, Math.max(ttlMs, 1)),
    revoke: (userId, reason) => app.sessions.revoke({ userId }, reason),
  }
}

/** `address:` and `principal:` of anomaly-guard in the words of rate-limits; a network of IPv6 is one client. */
function limitedBy(key: string): { ip: string } | { principal: string } {
  const [, type, value = ''] = /^(address|principal):(.+)$/s.exec(key) ?? []
  return type === 'principal' ? { principal: value } : { ip: value.replace(/\/\d+$/, '') }
}

/** A secret of its own, so that what one plugin signs means nothing to another. */
function derive(sessionSecret: string): string {
  return createHmac('sha256', sessionSecret).update('anomaly-guard').digest('base64url')
}

/** How the routes of other plugins are watched. */
const pluginRoutes: Readonly<Record<string, AnomalyRule>> = {
  'GET /audit/export': { tag: 'export' },
  'POST /auth/login': {
    account: ({ body }) => (body as { readonly login?: unknown } | null)?.login,
  },
}

/** Gives routes of other plugins a rule. Call it before the plugin is registered. */
export function watchPluginRoutes(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    const anomaly = pluginRoutes[`${String(route.method)} ${route.url}`]
    if (anomaly !== undefined) route.config = { ...route.config, anomaly }
  })
}
