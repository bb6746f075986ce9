/** The options of the HTTP server: timeouts, limits and error handlers, with their reasons. */
import type { Server } from 'node:http'
import { guardedSchemas } from '@parapet/input-guard'
import { uuidV7, type Clock } from '@parapet/kit'
import type { FastifyBaseLogger, FastifyHttpOptions } from 'fastify'
import type { Config } from '../config/environment.ts'
import { logTrace } from '../tracing/trace-context.ts'
import { createClientErrorHandler } from './client-errors.ts'
import { answerFrameworkError } from './framework-errors.ts'

/** Creates the options for Fastify's factory. */
export function createServerOptions(
  config: Config,
  log: FastifyBaseLogger,
  clock?: Clock,
): FastifyHttpOptions<Server> {
  return {
    loggerInstance: log,
    trustProxy: config.trustProxy,
    // If clients chose request ids, they could choose those of another client's log lines.
    requestIdHeader: false,
    genReqId: () => uuidV7(),
    // A trace of the client only names log lines; nothing is decided by it.
    childLoggerFactory: logTrace,

    // Fits the longest content with every character written as a JSON escape.
    bodyLimit: 262_144,
    // Limits slow clients: 10 s for the headers, 20 s for the whole request.
    requestTimeout: 20_000,
    http: {
      headersTimeout: 10_000,
      connectionsCheckingInterval: 2_000,
      maxHeaderSize: 16_384,
      // Node's own 400 runs no hook and is in no log; host-header.ts refuses the request instead.
      requireHostHeader: false,
    },
    // It runs while the body arrives, too: more than requestTimeout and one interval, so that a slow
    // body gets only the 408. Less than connectionTimeout, so that a handler that hangs leads to a 503
    // response instead of a closed connection.
    handlerTimeout: 25_000,
    connectionTimeout: 30_000,
    // More than the 60 s of common load balancers, so that the load balancer closes idle connections
    // and never sends a request on one that this server is closing.
    keepAliveTimeout: 72_000,
    // Ids are UUIDs, so longer parameters need not be matched.
    routerOptions: { maxParamLength: 64 },

    // During shutdown, requests on open connections are served as usual and the connection is then
    // closed (shutdown.ts). Fastify's own 503 would run no hooks.
    return503OnClosing: false,
    // The embedded database takes seconds to be created.
    pluginTimeout: 60_000,

    // Unknown members are refused and bodies are not converted, on the routes of plugins, too.
    schemaController: guardedSchemas(clock && { clock }),

    // Both run before any hook.
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: createClientErrorHandler(log),
  }
}
