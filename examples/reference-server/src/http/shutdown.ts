/** How the process ends: requests under way are finished, then everything is closed, within a bound. */
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the server has stopped taking connections. */
    readonly isClosing: () => boolean
  }
}

/** After the connections were cut: what the database and the store get to close. */
const CLOSE_MS = 2000

async function drainPlugin(app: FastifyInstance): Promise<void> {
  let closing = false
  app.decorate('isClosing', () => closing)
  app.addHook('preClose', async () => {
    closing = true
  })
  // A request that began before would otherwise leave its connection open, and the server waiting.
  app.addHook('onSend', async (_request, reply) => {
    if (closing) reply.header('connection', 'close')
  })
}

/** Gives connections up as soon as the server closes, and decorates `app.isClosing`. */
export const drain = fp(drainPlugin, { name: 'drain', fastify: '5.x' })

/**
 * Closes the app: no new connections, requests under way finish, then the store and the database
 * close. After `timeoutMs` what is left is cut off.
 *
 * @returns whether everything finished in time and in good order.
 */
export async function shutDown(app: FastifyInstance, timeoutMs: number): Promise<boolean> {
  let inTime = true
  const cut = setTimeout(() => {
    inTime = false
    app.log.error({ timeoutMs }, 'requests under way were cut off')
    app.server.closeAllConnections()
  }, timeoutMs)
  const late = new AbortController()
  const closed = app.close().then(
    () => inTime,
    (error: unknown) => {
      app.log.error({ err: error }, 'closing failed')
      return false
    },
  )
  const givenUp = wait(timeoutMs + CLOSE_MS, false, { signal: late.signal })
  const result = await Promise.race([closed, givenUp])
  clearTimeout(cut)
  late.abort()
  return result
}
