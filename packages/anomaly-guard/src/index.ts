/**
 * Recognise attacks in progress, explain why, and contain them without locking out the innocent.
 *
 * Rules are compiled as routes are declared; a request only looks up its rule and is refused before
 * its body is read.
 */
import { declarePhase } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { addGuard } from './http/guard.ts'
import { resolveOptions, type AnomalyGuardOptions } from './options.ts'
import type { AnomalyGuardRule } from './rule.ts'

export * from './errors.ts'
// A type export keeps the typed events in the published declarations; a bare import would be dropped.
export type * from './events.ts'
export type { AnomalyGuardOptions } from './options.ts'
export type { AnomalyGuardRule } from './rule.ts'

/** The decorator `app.anomalyGuard`. */
export interface AnomalyGuard {
  /** Method and pattern of every closed route declared so far, as `GET /reports`. */
  readonly closedRoutes: readonly string[]
}

declare module 'fastify' {
  interface FastifyInstance {
    anomalyGuard: AnomalyGuard
  }
  interface FastifyContextConfig {
    /** Whether the route is closed for maintenance. @default 'open' */
    anomalyGuard?: AnomalyGuardRule
  }
}

const NAME = '@parapet/anomaly-guard'

async function anomalyGuardPlugin(
  app: FastifyInstance,
  options: AnomalyGuardOptions,
): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'authorization')
  const closedRoutes = addGuard(app, NAME, settings)
  app.decorate('anomalyGuard', {
    get closedRoutes() {
      return [...closedRoutes]
    },
  })
}

/** The plugin. Register it with `await`, before the routes that it protects. */
export const anomalyGuard: FastifyPluginAsync<AnomalyGuardOptions> = fp(anomalyGuardPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default anomalyGuard
