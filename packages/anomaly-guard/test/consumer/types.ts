// Compiled by a strict consumer against the packed declarations; every line tests a type.
import plugin, {
  anomalyGuard,
  type AnomalyGuard,
  type AnomalyGuardOptions,
} from '@parapet/anomaly-guard'
import Fastify from 'fastify'

const options: AnomalyGuardOptions = { allowedRoles: ['operator'], retryAfterSeconds: 60 }
const app = Fastify()
await app.register(plugin, options)

export const decorated: AnomalyGuard = app.anomalyGuard
export const closedRoutes: readonly string[] = app.anomalyGuard.closedRoutes

app.securityEvents.on('anomaly_guard.refused', ({ details, severity }) => {
  const reason: 'closed' | 'missed' = details.reason
  app.log.info({ reason, severity })
})
app.get('/reports', { config: { anomalyGuard: 'closed' } }, (request, reply) =>
  reply.send(request.principal?.id),
)

// @ts-expect-error a rule that does not exist
app.get('/typo', { config: { anomalyGuard: 'close' } }, async () => null)
// @ts-expect-error an option that does not exist
await app.register(anomalyGuard, { allowedRole: ['operator'] })
// @ts-expect-error an event that does not exist
app.securityEvents.on('anomaly_guard.refuse', () => {})
await app.close()
