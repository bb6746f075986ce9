/** Writes the security events of all plugins to the log. */
import { usePrincipal, useSecurityEvents, type Severity } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const levels = {
  info: 'info',
  low: 'info',
  medium: 'warn',
  high: 'error',
  critical: 'error',
} as const satisfies Readonly<Record<Severity, string>>

async function securityEventLogPlugin(app: FastifyInstance): Promise<void> {
  usePrincipal(app)
  useSecurityEvents(app).on('*', (event) => {
    app.log[levels[event.severity]]({ event }, 'security event')
  })
}

/** Decorates `app.securityEvents` and `request.principal`, and logs every security event. */
export const securityEventLog = fp(securityEventLogPlugin, {
  name: 'security-event-log',
  fastify: '5.x',
})
