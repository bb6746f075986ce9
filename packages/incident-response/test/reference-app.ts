/** Registers the plugin with all its routes, so that the reference page can list them. */
import { incidentResponse } from '@parapet/incident-response'
import type { FastifyInstance } from 'fastify'

/** Uses no network and no database. */
export default async function register(app: FastifyInstance): Promise<void> {
  await app.register(incidentResponse)
  await app.register(app.incidents.routes, { prefix: '/incidents', guard: () => true })
}
