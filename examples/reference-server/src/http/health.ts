/** `/health` and `/ready`: whether the process runs, and whether it should get requests. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { systemClock, withDeadline, type Clock } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { closedObject, problems } from './schemas.ts'

/** The options of the plugin. */
export interface HealthOptions {
  /** How long a dependency may take to respond. @default 1000 */
  readonly deadlineMs?: number
  /** @default the system clock */
  readonly clock?: Clock
}

const tags = ['health']
const publicRoute = { rbac: { public: 'load balancers have no session' } } as const
const State = Type.Unsafe<'up' | 'down'>(Type.String({ enum: ['up', 'down'] }))
const Readiness = closedObject({
  ready: Type.Boolean({ description: 'Whether new requests should be sent to this server' }),
  closing: Type.Boolean({ description: 'Whether the server is shutting down' }),
  database: State,
  store: State,
})

/**
 * Creates a check of the dependencies. Concurrent callers share one run, so that many requests cannot
 * overload a dependency.
 */
function createCheck(app: FastifyInstance, deadlineMs: number, clock: Clock) {
  /** A cheap query for each dependency. */
  const queries: Record<'database' | 'store', () => Promise<unknown>> = {
    database: () => app.sql.query('SELECT 1'),
    store: () => app.store.get('reference-server:ready'),
  }

  async function check(name: 'database' | 'store'): Promise<'up' | 'down'> {
    try {
      const late = () => new Error(`no response within ${deadlineMs} ms`)
      await withDeadline(queries[name](), deadlineMs, late, clock)
      return 'up'
    } catch (error) {
      // The reason is only logged; the response contains only the state.
      app.log.warn({ err: error, dependency: name }, 'a dependency is not ready')
      return 'down'
    }
  }

  async function checkAll() {
    const [database, store] = await Promise.all([check('database'), check('store')])
    return { database, store }
  }

  let running: ReturnType<typeof checkAll> | undefined
  return () => (running ??= checkAll().finally(() => (running = undefined)))
}

/** The routes for load balancers. */
export const health: FastifyPluginAsyncTypebox<HealthOptions> = async (
  app,
  { deadlineMs = 1000, clock = systemClock },
) => {
  const checkDependencies = createCheck(app, deadlineMs, clock)

  app.get(
    '/health',
    {
      config: publicRoute,
      schema: {
        operationId: 'getHealth',
        summary: 'Check whether the process runs; its dependencies are not checked',
        tags,
        response: { 200: closedObject({ alive: Type.Literal(true) }), ...problems },
      },
    },
    async () => ({ alive: true as const }),
  )

  app.get(
    '/ready',
    {
      config: publicRoute,
      schema: {
        operationId: 'getReadiness',
        summary: 'Check whether requests should be sent to this server',
        tags,
        response: { 200: Readiness, ...problems, 503: Readiness },
      },
    },
    async (_request, reply) => {
      const states = await checkDependencies()
      const closing = app.isClosing()
      const ready = !closing && states.database === 'up' && states.store === 'up'
      return reply.code(ready ? 200 : 503).send({ ready, closing, ...states })
    },
  )
}
