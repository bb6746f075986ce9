/** Graceful shutdown: running requests finish, then everything is closed, within a time limit. */
import type { Server } from 'node:http'
import { Server as NetServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the server has stopped accepting connections. */
    readonly isClosing: () => boolean
  }
}

/** How long the database and the store may take to close after connections were aborted. */
const CLOSE_MS = 2000
/** How long idle connections stay open, for requests that were sent before the client knew. */
const DRAIN_MS = 1000

/** The options of the plugin. */
export interface CloseOptions {
  /** Idle connections are closed after at most half of it. */
  readonly shutdownTimeoutMs: number
}

async function closeConnectionsPlugin(
  app: FastifyInstance,
  { shutdownTimeoutMs }: CloseOptions,
): Promise<void> {
  let closing = false
  app.decorate('isClosing', () => closing)
  app.addHook('preClose', async () => {
    closing = true
    await drain(app.server, Math.min(DRAIN_MS, shutdownTimeoutMs / 2))
  })
  // Tells the client to send no further request on this connection, which then ends.
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) reply.header('connection', 'close')
    done()
  })
}

/**
 * Refuses new connections and waits until the open ones have ended, or for `drainMs`. Node's
 * `close()` of an HTTP server would reset idle connections on which a request is already under way.
 */
function drain(server: Server, drainMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, drainMs)
    NetServer.prototype.close.call(server, () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** Lets connections end before the server closes, and decorates `app.isClosing`. */
export const closeConnections = fp(closeConnectionsPlugin, {
  name: 'close-connections',
  fastify: '5.x',
})

/**
 * Closes the app: new connections are refused, running requests finish, then the store and the
 * database close. After `timeoutMs` the remaining requests are aborted.
 *
 * @returns whether everything finished in time and without an error.
 */
export async function shutDown(app: FastifyInstance, timeoutMs: number): Promise<boolean> {
  let inTime = true
  const abortTimer = setTimeout(() => {
    inTime = false
    app.log.error({ timeoutMs }, 'aborted requests that did not finish within SHUTDOWN_TIMEOUT_MS')
    app.server.closeAllConnections()
  }, timeoutMs)
  const finished = new AbortController()
  const closed = app.close().then(
    () => inTime,
    (error: unknown) => {
      app.log.error({ err: error }, 'closing the app failed')
      return false
    },
  )
  const timedOut = wait(timeoutMs + CLOSE_MS, false, { signal: finished.signal })
  const result = await Promise.race([closed, timedOut])
  clearTimeout(abortTimer)
  finished.abort()
  return result
}
