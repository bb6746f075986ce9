// Compiled by a strict consumer against the packed declarations; every line tests a type.
import plugin, { template, type Template, type TemplateOptions } from '@parapet/template'
import Fastify from 'fastify'

const options: TemplateOptions = { allowedRoles: ['operator'], retryAfterSeconds: 60 }
const app = Fastify()
await app.register(plugin, options)

export const decorated: Template = app.template
export const closedRoutes: readonly string[] = app.template.closedRoutes

app.securityEvents.on('template.refused', ({ details, severity }) => {
  const reason: 'closed' | 'missed' = details.reason
  app.log.info({ reason, severity })
})
app.get('/reports', { config: { template: 'closed' } }, (request, reply) =>
  reply.send(request.principal?.id),
)

// @ts-expect-error a rule that does not exist
app.get('/typo', { config: { template: 'close' } }, async () => null)
// @ts-expect-error an option that does not exist
await app.register(template, { allowedRole: ['operator'] })
// @ts-expect-error an event that does not exist
app.securityEvents.on('template.refuse', () => {})
await app.close()
