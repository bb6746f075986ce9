/** The security events of every plugin, and the one wire they have so far: the log. */
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

async function eventsPlugin(app: FastifyInstance): Promise<void> {
  usePrincipal(app)
  useSecurityEvents(app).on('*', (event) => {
    app.log[levels[event.severity]]({ event }, 'security event')
  })
}

/** Puts `app.securityEvents` and `request.principal` on the app and writes each event to the log. */
export const events = fp(eventsPlugin, { name: 'events', fastify: '5.x' })
