/** `/health` and `/ready`: whether the process runs, and whether it should get requests. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { systemClock, withDeadline, type Clock } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { closedObject, problems } from '../http/schemas.ts'
import { checkWriting } from '../storage/database.ts'

/** The options of the plugin. */
export interface HealthOptions {
  /** How long a dependency may take to respond. @default 1000 */
  readonly deadlineMs?: number
  /** @default the system clock */
  readonly clock?: Clock
}

const tags = ['health']
const publicRoute = {
  rbac: { public: 'load balancers have no session' },
  // In lockdown, too, a load balancer must see whether the process runs; its requests are no behaviour.
  anomaly: { open: true, watch: false },
} as const
const State = Type.Unsafe<'up' | 'down'>(Type.String({ enum: ['up', 'down'] }))
const Readiness = closedObject({
  ready: Type.Boolean({ description: 'Whether new requests should be sent to this server' }),
  closing: Type.Boolean({ description: 'Whether the server is shutting down' }),
  database: State,
  store: State,
  auditLog: State,
  load: Type.Unsafe<'normal' | 'high'>(Type.String({ enum: ['normal', 'high'] })),
})

const STORE_KEY = 'reference-server:ready'
const STORE_TTL_MS = 60_000

/**
 * Creates a check of the dependencies. Each must be able to write, because a server that can only read
 * refuses every login. Concurrent callers share one run, so that many requests cannot overload a
 * dependency.
 */
function createCheck(app: FastifyInstance, deadlineMs: number, clock: Clock) {
  async function checkAuditLog(): Promise<void> {
    const { isReady, problem } = await app.audit.status()
    if (!isReady) throw new Error(problem ?? 'the audit log is not ready')
  }
  const checks = {
    database: () => checkWriting(app.sql, deadlineMs),
    store: () => app.store.set(STORE_KEY, '1', STORE_TTL_MS),
    auditLog: checkAuditLog,
  }

  async function check(name: keyof typeof checks): Promise<'up' | 'down'> {
    try {
      const late = () => new Error(`no response within ${deadlineMs} ms`)
      await withDeadline(checks[name](), deadlineMs, late, clock)
      return 'up'
    } catch (error) {
      // The reason is only logged; the response contains only the state.
      app.log.warn({ err: error, dependency: name }, `not ready: ${name} cannot write`)
      return 'down'
    }
  }

  async function checkAll() {
    const names = ['database', 'store', 'auditLog'] as const
    const [database, store, auditLog] = await Promise.all(names.map(check))
    return { database: database!, store: store!, auditLog: auditLog! }
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
      const load = app.isOverloaded() ? ('high' as const) : ('normal' as const)
      const isUp = Object.values(states).every((state) => state === 'up')
      const ready = !closing && isUp && load === 'normal'
      return reply.code(ready ? 200 : 503).send({ ready, closing, ...states, load })
    },
  )
}
