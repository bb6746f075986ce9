/** Assembles the plugin: the store, the rules, the hooks and the decorator. */
import { randomBytes } from 'node:crypto'
import { systemClock, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { PARAPET_RATE_LIMITS_TWO_LIMITERS } from '../errors.ts'
import { events } from '../events.ts'
import type { LimitStore } from '../limits/store.ts'
import type { RateLimitsSettings } from '../options.ts'
import { FleetLimits } from '../store/fleet-limits.ts'
import { MemoryLimits } from '../store/memory-limits.ts'
import { shareOf } from '../tiers/compile-tiers.ts'
import { Tally } from '../watch/tally.ts'
import { createRateLimits } from './app-rate-limits.ts'
import type { RateLimits } from './decorator.ts'
import { addLaterHook, addPeerHook, type HookParts } from './hooks.ts'
import { kCheck, Limiter, type RequestCheck } from './limiter.ts'
import { RouteRules } from './route-rules.ts'
import { createShell } from './shell.ts'
import { Watch } from './watch.ts'

const OTHER = '@fastify/rate-limit'

/** Adds hooks to the app. @returns the decorator. */
export async function registerLimits(
  app: FastifyInstance,
  plugin: string,
  settings: RateLimitsSettings,
): Promise<RateLimits> {
  const { compiledTiers: tiers, clock } = settings
  const tally = new Tally(tiers.keys())
  const watch = new Watch({
    events: useSecurityEvents(app, events),
    log: app.log,
    tally,
    abuse: settings.abuse,
    contain: settings.contain,
    now: () => clock.now(),
  })
  const principalOf = usePrincipal(app, settings.principal)
  const instance = randomBytes(9).toString('base64url')
  const store = createStore(app, settings, instance)
  const shell = await createShell(app, (request) => {
    const { [kCheck]: check } = request as { readonly [kCheck]?: RequestCheck }
    return check!
  })
  const sources = { ...settings, principalOf }
  const limiter = new Limiter({ ...settings, sources, store, watch, instance }, shell)
  const parts: HookParts = { limiter, rules: undefined, watch, principalOf }
  addPeerHook(app, parts)
  const rules = new RouteRules(app, {
    plugin,
    tiers,
    routes: settings.routes,
    notFound: settings.notFound,
    addHooks: (route, rule) => addLaterHook(route, rule, parts),
  })
  parts.rules = rules
  refuseOtherLimiter(app)
  app.addHook('onReady', () => store.start())
  app.addHook('onClose', async () => store.close())
  return createRateLimits({ tiers, store, rules, limiter, tally })
}

function createStore(
  app: FastifyInstance,
  settings: RateLimitsSettings,
  instance: string,
): LimitStore {
  const { redis: client, clock, compiledTiers, maxKeys } = settings
  if (client === undefined) {
    return new MemoryLimits(clock, maxKeys)
  }
  const security = useSecurityEvents(app, events)
  const store: FleetLimits = new FleetLimits({
    ...settings,
    client,
    instance,
    isClockInjected: clock !== systemClock,
    shareOf: (policy, instances) =>
      shareOf(policy, compiledTiers.get(policy.tier)!.degradedRatio, instances),
    listener: {
      degraded(reason) {
        const { instances } = store.status
        app.log.error(
          { reason, instances },
          `rate-limits: Redis does not answer, so each instance admits 1/${instances} of every limit`,
        )
        security.emit('rate_limits.degraded', { details: { reason, instances } })
      },
      evicts(policy) {
        app.log.warn(
          `rate-limits: Redis may drop blocks and counts before they end ("maxmemory-policy" is ${policy}). Set "maxmemory-policy noeviction".`,
        )
      },
      recovered(downMs, merged) {
        app.log.info(
          { downMs, merged },
          'rate-limits: Redis answers again, local counts were added',
        )
        security.emit('rate_limits.recovered', { details: { downMs, merged } })
      },
    },
  })
  return store
}

/** Both would read `config.rateLimit` of the same routes. @throws PARAPET_RATE_LIMITS_TWO_LIMITERS */
function refuseOtherLimiter(app: FastifyInstance): void {
  const refuse = (): void => {
    if (app.hasPlugin(OTHER)) throw new PARAPET_RATE_LIMITS_TWO_LIMITERS()
  }
  refuse()
  app.addHook('onReady', async () => refuse())
}
