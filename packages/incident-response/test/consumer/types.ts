// Compiled by a strict consumer against the packed declarations; every line tests a type.
import plugin, {
  incidentResponse,
  type Action,
  type Incident,
  type IncidentResponseOptions,
} from '@parapet/incident-response'
import Fastify from 'fastify'

const action: Action = {
  run: async ({ key, with: parameters }) => ({
    summary: `${key} ${String(parameters['address'])}`,
  }),
}
const options: IncidentResponseOptions = { actions: { BLOCK_IP: action }, builtIn: ['brute_force'] }
const app = Fastify()
await app.register(plugin, options)
await app.register(app.incidents.routes, {
  prefix: '/incidents',
  guard: (request, access) => access === 'read' && request.principal !== null,
})
export const incident: Incident = await app.incidents.report({ type: 'brute_force' })
app.securityEvents.on('incident_response.opened', ({ details }) => {
  const title: string = details.title
  app.log.info({ title })
})

// @ts-expect-error an option that does not exist
await app.register(incidentResponse, { action: {} })
// @ts-expect-error an event that does not exist
app.securityEvents.on('incident_response.open', () => {})
await app.close()
