/** `/health` and `/ready`: whether the process lives, and whether it should get requests. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { systemClock, withDeadline, type Clock } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import { closedObject, problems } from './schemas.ts'

/** What the plugin takes. */
export interface HealthOptions {
  /** How long a dependency may take to answer. @default 1000 */
  readonly deadlineMs?: number
  /** @default the machine's clock */
  readonly clock?: Clock
}

const tags = ['health']
const Condition = Type.Unsafe<'up' | 'down'>(Type.String({ enum: ['up', 'down'] }))
const Readiness = closedObject({
  ready: Type.Boolean(),
  closing: Type.Boolean({ description: 'The server is finishing what it has, and takes no more' }),
  database: Condition,
  store: Condition,
})

/** The routes that a load balancer asks. */
export const health: FastifyPluginAsyncTypebox<HealthOptions> = async (
  app,
  { deadlineMs = 1000, clock = systemClock },
) => {
  /** Each dependency, and a question that costs it next to nothing. */
  const checks: Record<'database' | 'store', () => Promise<unknown>> = {
    database: () => app.sql.query('SELECT 1'),
    store: () => app.store.get('reference-server:ready'),
  }

  async function conditionOf(name: 'database' | 'store'): Promise<'up' | 'down'> {
    try {
      const late = () => new Error(`no answer within ${deadlineMs} ms`)
      await withDeadline(checks[name](), deadlineMs, late, clock)
      return 'up'
    } catch (error) {
      // What is wrong goes to the log; who asks learns only that it is.
      app.log.warn({ err: error, dependency: name }, 'not ready')
      return 'down'
    }
  }

  async function ask() {
    const [database, store] = await Promise.all([conditionOf('database'), conditionOf('store')])
    return { database, store }
  }

  let asking: ReturnType<typeof ask> | undefined
  /** However many ask at once, each dependency is asked once. */
  const askOnce = () => (asking ??= ask().finally(() => (asking = undefined)))

  app.get(
    '/health',
    {
      config: { rbac: { public: 'load balancers have no login' } },
      schema: {
        operationId: 'getHealth',
        summary: 'Whether the process lives; asks nothing of what it depends on',
        tags,
        response: { 200: closedObject({ alive: Type.Literal(true) }), ...problems },
      },
    },
    async () => ({ alive: true as const }),
  )

  app.get(
    '/ready',
    {
      config: { rbac: { public: 'load balancers have no login' } },
      schema: {
        operationId: 'getReadiness',
        summary: 'Whether requests should be sent here',
        tags,
        response: { 200: Readiness, ...problems, 503: Readiness },
      },
    },
    async (_request, reply) => {
      const conditions = await askOnce()
      const closing = app.isClosing()
      const ready = !closing && conditions.database === 'up' && conditions.store === 'up'
      return reply.code(ready ? 200 : 503).send({ ready, closing, ...conditions })
    },
  )
}
