/** The options of `@parapet/anomaly-guard`: where its state is, and what other plugins do for it. */
import { createHmac } from 'node:crypto'
import type { AnomalyGuardOptions, AnomalyRule } from '@parapet/anomaly-guard'
import { systemClock } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import type { Ports } from '../app.ts'
import type { Config } from '../config/environment.ts'
import { inApi } from '../http/api.ts'

/**
 * Rules only record until an administrator promotes them, by the routes under `/security/rules`. Their
 * list says what each rule would have done.
 */
export function createAnomalyOptions(
  app: FastifyInstance,
  { sessionSecrets: [sessionSecret] = [] }: Config,
  { clock }: Pick<Ports, 'clock'>,
): AnomalyGuardOptions {
  return {
    store: app.store,
    // Containments end by this time; the sweeps of the guard stay on real timers.
    ...(clock === undefined ? undefined : { clock: { ...systemClock, now: () => clock.now() } }),
    ...(sessionSecret === undefined ? undefined : { secret: derive(sessionSecret) }),
    // Texts of users may quote anything; they are stored by parameterised queries and returned as JSON.
    inspect: { fields: { 'body.body': 'skip', 'body.bio': 'skip' } },
    // A network that many people share is asked for a proof of work instead of being blocked.
    challenge: {},
    tighten: (...given) => app.rateLimits.tighten(...given),
    revoke: (userId, reason) => app.sessions.revoke({ userId }, reason),
  }
}

/** A secret of its own, so that what one plugin signs means nothing to another. */
function derive(sessionSecret: string): string {
  return createHmac('sha256', sessionSecret).update('anomaly-guard').digest('base64url')
}

/** How the routes of other plugins are watched. */
const pluginRoutes: Readonly<Record<string, AnomalyRule>> = inApi<AnomalyRule>({
  'GET /audit/export': { tag: 'export' },
  // In lockdown, operators who are signed in stay so, and can show a factor.
  'POST /auth/refresh': { open: true },
  'POST /mfa/verify': { open: true },
  'POST /mfa/passkeys/verify': { open: true },
  'POST /mfa/passkeys/verify/options': { open: true },
  'POST /auth/login': {
    account: ({ body }) => (body as { readonly login?: unknown } | null)?.login,
    // One password on many accounts is recognised from many addresses, too.
    secret: ({ body }) => (body as { readonly password?: unknown } | null)?.password,
  },
})

/** Gives routes of other plugins a rule. Call it before the plugin is registered. */
export function watchPluginRoutes(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    const anomaly = pluginRoutes[`${String(route.method)} ${route.url}`]
    if (anomaly !== undefined) route.config = { ...route.config, anomaly }
  })
}
