/** Refuses replies that contain a loaded secret. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { PARAPET_SECRETS_LEAK } from '../errors.ts'
import type { LeakGuard } from '../leaks/leak-guard.ts'
import type { ReportLeak } from '../leaks/leak-reports.ts'

/**
 * Adds the hook. It looks at texts, buffers and headers; a stream passes unread.
 *
 * @param mode `refuse`: the reply becomes a 500. `report`: it is only reported.
 */
export function addLeakHooks(
  app: FastifyInstance,
  guard: LeakGuard,
  report: ReportLeak,
  mode: 'refuse' | 'report',
): void {
  app.addHook('onSend', async (request, reply, payload) => {
    const inReply =
      typeof payload === 'string' || payload instanceof Uint8Array ? guard.find(payload) : undefined
    const inHeader = findInHeaders(guard, reply)
    const secret = inReply ?? inHeader
    if (secret === undefined) return payload
    const where = inReply === undefined ? 'header' : 'reply'
    report(secret, where, request)
    request.log.error({ secretName: secret, where, route: request.routeOptions.url }, LEAK)
    if (mode === 'report') return payload
    if (inHeader !== undefined) removeHeaders(guard, reply)
    throw new PARAPET_SECRETS_LEAK()
  })
}

const LEAK = 'secrets found the value of a loaded secret in a reply; see "secretName" and "route"'

function findInHeaders(guard: LeakGuard, reply: FastifyReply): string | undefined {
  for (const value of Object.values(reply.getHeaders())) {
    const found = value === undefined ? undefined : guard.find(String(value))
    if (found !== undefined) return found
  }
  return undefined
}

/** The error reply would carry them as well. */
function removeHeaders(guard: LeakGuard, reply: FastifyReply): void {
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined && guard.find(String(value)) !== undefined) reply.removeHeader(name)
  }
}
