/** `/security`: what the anomaly guard found, why, and what is done about it. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Containment } from '@parapet/anomaly-guard'
import type { FastifyRequest } from 'fastify'
import { freshFactor } from '../access/fresh-factor.ts'
import { PARAPET_REFERENCE_ADDRESS_NOT_BLOCKED, PARAPET_REFERENCE_NOT_FOUND } from '../errors.ts'
import { idOf } from '../http/schemas.ts'
import { changes } from '../logging/record-change.ts'
import { pageOfContainments } from './containment-page.ts'
import { securityRoutes } from './schemas.ts'

// In lockdown, too, an operator must see what happens and be able to end it.
const open = { anomaly: { open: true } } as const
const reading = { ...open, rbac: 'security:read' } as const
const changing = (action: string) =>
  ({
    ...open,
    audit: changes(action),
    rbac: 'security:write',
    mfa: freshFactor,
  }) as const

const instant = (ms: number): string => new Date(ms).toISOString()

function show({ id, kind, target, until, reason }: Containment) {
  const name = target.type === 'service' ? 'service' : `${target.type}:${target.value}`
  return { id, kind, target: name, until: instant(until), reason }
}

/** Who asks: rbac has required a principal. */
const operator = ({ principal }: FastifyRequest) => ({ by: principal?.id ?? 'unknown' })

type App = Parameters<FastifyPluginAsyncTypebox>[0]

/** The routes. */
export const security: FastifyPluginAsyncTypebox = async (app) => {
  addAnomalyRoutes(app)
  addRuleRoutes(app)
  addContainmentRoutes(app)
}

function addAnomalyRoutes(app: App): void {
  const { listAnomalies, explainAnomaly, judgeAnomaly } = securityRoutes
  app.get('/anomalies', { schema: listAnomalies, config: reading }, async () => {
    const found = await app.anomaly.timeline()
    return { items: found.map((each) => ({ ...each, time: instant(each.time) })) }
  })
  app.get('/anomalies/:id', { schema: explainAnomaly, config: reading }, async (request) => {
    const { sentences } = await app.anomaly.explain(idOf(request))
    return { sentences: [...sentences] }
  })
  app.put(
    '/anomalies/:id/verdict',
    { schema: judgeAnomaly, config: changing('anomaly.judge') },
    async (request) => {
      const { verdict } = request.body
      return { lifted: await app.anomaly.feedback(idOf(request), verdict, operator(request)) }
    },
  )
}

function addRuleRoutes(app: App): void {
  const { listRules, setRuleMode } = securityRoutes
  app.get('/rules', { schema: listRules, config: reading }, async () => ({
    items: app.anomaly.rules.map(({ name }) => {
      const { mode, detections, anomalies, clients, requests } = app.anomaly.impact(name)
      return { name, mode, detections, anomalies, clients, requests }
    }),
  }))
  app.put(
    '/rules/:name/mode',
    { schema: setRuleMode, config: changing('rule.set_mode') },
    async (request, reply) => {
      const { mode } = request.body
      await app.anomaly.promote(request.params.name, { ...operator(request), mode })
      return reply.code(204).send(null)
    },
  )
}

function addContainmentRoutes(app: App): void {
  const { listContainments, blockAddress, liftContainment } = securityRoutes
  const { contain } = app.anomaly
  app.get('/containments', { schema: listContainments, config: reading }, async ({ query }) => {
    const { items, total } = pageOfContainments(contain.list(), query)
    return { items: items.map(show), total }
  })
  app.post(
    '/containments',
    { schema: blockAddress, config: changing('containment.create') },
    async (request, reply) => {
      const { address, reason, ttlSeconds } = request.body
      const ttl = ttlSeconds === undefined ? undefined : { ttlMs: ttlSeconds * 1000 }
      const { containment } = await contain
        .blockAddress(address, { reason, ...operator(request), ...ttl })
        .catch(() => ({ containment: undefined }))
      if (containment === undefined) throw new PARAPET_REFERENCE_ADDRESS_NOT_BLOCKED()
      return reply.code(201).send(show(containment))
    },
  )
  app.delete(
    '/containments/:id',
    { schema: liftContainment, config: changing('containment.lift') },
    async (request, reply) => {
      const lifted = await contain.lift(idOf(request), operator(request))
      if (lifted === undefined) throw new PARAPET_REFERENCE_NOT_FOUND()
      return reply.code(204).send(null)
    },
  )
}
