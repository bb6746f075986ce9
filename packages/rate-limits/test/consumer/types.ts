// Compiled by a strict consumer against the packed declarations; every line tests a type.
import plugin, { rateLimits, type RateLimits, type RateLimitsOptions } from '@parapet/rate-limits'
import Fastify from 'fastify'

const options: RateLimitsOptions = { allowedRoles: ['operator'], retryAfterSeconds: 60 }
const app = Fastify()
await app.register(plugin, options)

export const decorated: RateLimits = app.rateLimits
export const closedRoutes: readonly string[] = app.rateLimits.closedRoutes

app.securityEvents.on('rate_limits.refused', ({ details, severity }) => {
  const reason: 'closed' | 'missed' = details.reason
  app.log.info({ reason, severity })
})
app.get('/reports', { config: { rateLimits: 'closed' } }, (request, reply) =>
  reply.send(request.principal?.id),
)

// @ts-expect-error a rule that does not exist
app.get('/typo', { config: { rateLimits: 'close' } }, async () => null)
// @ts-expect-error an option that does not exist
await app.register(rateLimits, { allowedRole: ['operator'] })
// @ts-expect-error an event that does not exist
app.securityEvents.on('rate_limits.refuse', () => {})
await app.close()
