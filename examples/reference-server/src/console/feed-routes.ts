/** The routes behind the live view: the feed of events, the counters, and who watches. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { systemClock, type Clock } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { PARAPET_REFERENCE_TOO_MANY_STREAMS } from '../errors.ts'
import { createEventStream } from './event-stream.ts'
import { watching } from './route-config.ts'
import { consoleRoutes } from './schemas.ts'

type App = Parameters<FastifyPluginAsyncTypebox>[0]
type Stream = ReturnType<typeof createEventStream>

/** What the console asks `rbac` about. */
const PERMISSIONS = [
  'security:read',
  'security:write',
  'audit:read',
  'users:list',
  'incidents:read',
  'incidents:write',
  'privacy:manage',
] as const
/** Decorators of plugins that this server may have. */
const PARTS = ['incidents', 'privacy'] as const
const MAX_STREAMS = 200
const MAX_STREAMS_OF_ONE = 8
/** An API key has no session that ends. */
const LONGEST_STREAM_MS = 900_000

/** Adds the routes. */
export function addFeedRoutes(app: App, clock: Clock = systemClock): void {
  const { consoleRecords: records } = app
  const { me, events, counters } = consoleRoutes
  // Pages of a part that is not installed say so, without a request that would be refused.
  const parts: string[] = []
  app.addHook('onReady', async () => {
    parts.push(...PARTS.filter((name) => app.hasDecorator(name)))
  })
  app.get('/me', { schema: me, config: watching }, async (request) => {
    const { id, roles } = request.principal!
    const permissions = PERMISSIONS.filter((name) => request.rbac.can(name))
    const sessionId = request.sessions?.sessionId ?? null
    const times = { serverTime: clock.now(), recordingSince: records.since }
    return { id, sessionId, roles: [...roles], permissions: [...permissions], parts, ...times }
  })
  app.get('/events', { schema: events, config: watching }, async (request) => {
    const { limit, ...filter } = request.query
    return { items: records.events.list(filter, limit) }
  })
  app.get('/counters', { schema: counters, config: watching }, async () => ({
    since: records.since,
    minutes: records.counters.list(),
  }))
  addStream(app, clock)
}

function addStream(app: App, clock: Clock): void {
  const streams = new Map<Stream, FastifyRequest>()
  const endAll = (belongs: (request: FastifyRequest) => boolean): void => {
    for (const [stream, request] of streams) if (belongs(request)) stream.push(null)
  }
  const stopListening = app.sessions.onEnded((ended) =>
    endAll(({ sessions }) => sessions !== null && ended.includes(sessions)),
  )
  // A stream never ends by itself, so the shutdown would wait for it.
  app.addHook('preClose', async () => {
    stopListening()
    endAll(() => true)
  })

  // The time-out of other handlers would end the stream after seconds; it ends with the access token.
  const options = {
    schema: consoleRoutes.stream,
    config: watching,
    handlerTimeout: LONGEST_STREAM_MS + 60_000,
  }
  app.get('/events/stream', options, async (request, reply) => {
    const own = [...streams.values()].filter(
      ({ principal }) => principal?.id === request.principal?.id,
    )
    if (streams.size >= MAX_STREAMS || own.length >= MAX_STREAMS_OF_ONE) {
      throw new PARAPET_REFERENCE_TOO_MANY_STREAMS()
    }
    const until = Math.min(
      clock.now() + LONGEST_STREAM_MS,
      request.sessions?.expiresAt ?? Number.POSITIVE_INFINITY,
    )
    const { query: filter } = request
    const stream = createEventStream({ records: app.consoleRecords, filter, clock, until })
    streams.set(stream, request)
    stream.once('close', () => streams.delete(stream))
    reply.header('cache-control', 'no-store').header('x-accel-buffering', 'no')
    reply.type('text/event-stream')
    // The type of the route is that of the text it becomes.
    return reply.send(stream as unknown as string)
  })
}
