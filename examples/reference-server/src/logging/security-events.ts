/** Writes the security events of all plugins to the log. */
import { usePrincipal, useSecurityEvents, type SecurityEvent, type Severity } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const levels = {
  info: 'info',
  low: 'info',
  medium: 'warn',
  high: 'error',
  critical: 'error',
} as const satisfies Readonly<Record<Severity, string>>

/**
 * Reasons that blame the server, not the caller: every request to the route is refused until somebody
 * corrects the server, so they are errors whatever the severity of one refusal is.
 */
const SERVER_FAULTS: ReadonlySet<unknown> = new Set(['missed', 'stale', 'unknown_permission'])

function describe({ type, severity, details }: SecurityEvent) {
  const { reason } = details as { readonly reason?: unknown }
  return {
    level: SERVER_FAULTS.has(reason) ? 'error' : levels[severity],
    message: `security event: ${type}${typeof reason === 'string' ? ` (${reason})` : ''}`,
  } as const
}

async function securityEventLogPlugin(app: FastifyInstance): Promise<void> {
  usePrincipal(app)
  useSecurityEvents(app).on('*', (event) => {
    const { level, message } = describe(event)
    app.log[level]({ event }, message)
  })
}

/** Decorates `app.securityEvents` and `request.principal`, and logs every security event. */
export const securityEventLog = fp(securityEventLogPlugin, {
  name: 'security-event-log',
  fastify: '5.x',
})
