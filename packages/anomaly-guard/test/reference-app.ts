/** Registers the plugin with every route it can add, for the generated reference page. */
import { anomalyGuard } from '@parapet/anomaly-guard'
import type { FastifyInstance } from 'fastify'

/** Registers the plugin; no network and no database are used. */
export default async function register(app: FastifyInstance): Promise<void> {
  await app.register(anomalyGuard, { challenge: {} })
}
