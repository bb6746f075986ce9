/** The settings of the HTTP server itself: what it waits for, how much it takes, and why. */
import type { Server } from 'node:http'
import type { FastifyBaseLogger, FastifyHttpOptions } from 'fastify'
import { uuidV7 } from '@parapet/kit'
import type { Config } from './config.ts'
import { answerFrameworkError, createClientErrorHandler } from './errors.ts'
import { schemaController } from './validation.ts'

/** The options for Fastify's factory. */
export function createServerOptions(
  config: Config,
  log: FastifyBaseLogger,
): FastifyHttpOptions<Server> {
  return {
    loggerInstance: log,
    trustProxy: config.trustProxy,
    // An id that a client may choose can be made to point at someone else's log lines.
    requestIdHeader: false,
    genReqId: () => uuidV7(),

    // The longest content, with every character written as a JSON escape, fits.
    bodyLimit: 262_144,
    // A slow sender gives the connection back: 10 s for the head, 20 s for all of the request.
    requestTimeout: 20_000,
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 2_000, maxHeaderSize: 16_384 },
    // A handler that hangs is answered for; shorter than connectionTimeout, which would just hang up.
    handlerTimeout: 15_000,
    connectionTimeout: 30_000,
    // Longer than the 60 s of common load balancers: who reuses a connection should be who closes it.
    keepAliveTimeout: 72_000,
    // Ids are UUIDs; nothing longer needs to be matched or looked up.
    routerOptions: { maxParamLength: 64 },

    // What still arrives on an open connection is answered, as problem details or as usual, and the
    // connection then closed (shutdown.ts); Fastify's own 503 would bypass every hook.
    return503OnClosing: false,
    // The embedded database takes seconds to create itself.
    pluginTimeout: 60_000,

    schemaController,

    // Both run before any hook.
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: createClientErrorHandler(log),
  }
}
