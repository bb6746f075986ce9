/** Routes of privacy officers. */
import type { FastifyInstance } from 'fastify'
import { PARAPET_PRIVACY_FORBIDDEN, PARAPET_PRIVACY_NOT_FOUND } from '../errors.ts'
import {
  approveRequest,
  extendRequest,
  placeHold,
  rejectRequest,
  releaseHold,
  retryRequest,
} from '../service/officer.ts'
import { askPort } from '../service/context.ts'
import { renderRegister } from '../sources/processing-register.ts'
import { requireCaller, type RouteParts } from './route-tools.ts'
import { officerRoutes as routes } from './schemas.ts'
import { cursorOf, readCursor, viewOfPage, viewOfRequest } from './views.ts'

interface WithId {
  readonly Params: { readonly id: string }
}
interface WithReason extends WithId {
  readonly Body: { readonly reason: string }
}

/** Adds the routes, all behind the guard. */
export function addOfficerRoutes(app: FastifyInstance, parts: RouteParts): void {
  app.addHook('onRequest', async (request) => {
    requireCaller(parts, request)
    // Anything but `true` refuses, also what a guard without a type returns.
    const isOfficer: unknown = await askPort(parts.context, 'officer', () => parts.officer(request))
    if (isOfficer !== true) throw new PARAPET_PRIVACY_FORBIDDEN()
  })
  addDecisionRoutes(app, parts)
  addHoldRoutes(app, parts)
  addReportRoutes(app, parts)
}

function addDecisionRoutes(app: FastifyInstance, { context }: RouteParts): void {
  app.get<{ Querystring: { limit: number; cursor?: string; state?: 'open' | 'closed' } }>(
    '/requests',
    routes.list,
    async ({ query: { limit, cursor, state } }) => {
      const filter = { limit: limit + 1, ...(state && { topic: state }), ...readCursor(cursor) }
      return viewOfPage(await context.requests.list(filter), limit)
    },
  )
  app.get<WithId>('/requests/:id', routes.get, async ({ params }) => {
    const body = await context.requests.find(params.id)
    if (body === null) throw new PARAPET_PRIVACY_NOT_FOUND()
    return viewOfRequest(body)
  })
  app.post<WithId>('/requests/:id/approve', routes.approve, async ({ params }) =>
    viewOfRequest(await approveRequest(context, params.id)),
  )
  app.post<WithId>('/requests/:id/retry', routes.retry, async ({ params }) =>
    viewOfRequest(await retryRequest(context, params.id)),
  )
  app.post<WithReason>('/requests/:id/reject', routes.reject, async (request) => {
    const { params, body } = request
    return viewOfRequest(await rejectRequest(context, params.id, body.reason, request))
  })
  app.post<WithId & { Body: { months: number; reason: string } }>(
    '/requests/:id/extend',
    routes.extend,
    async ({ params, body }) => viewOfRequest(await extendRequest(context, params.id, body)),
  )
}

function addHoldRoutes(app: FastifyInstance, { context }: RouteParts): void {
  app.get<{ Querystring: { limit: number; cursor?: string } }>(
    '/holds',
    routes.holds,
    async ({ query: { limit, cursor } }) => {
      const after = readCursor(cursor)?.after
      const behind = after && { after: { id: after.id, placedAt: after.time } }
      const found = await context.holds.list({ limit: limit + 1, ...behind })
      const items = found.slice(0, limit)
      const last = found.length > limit && items.at(-1)
      return { items, ...(last && { nextCursor: cursorOf({ ...last, time: last.placedAt }) }) }
    },
  )
  app.post<{ Body: { subject: string; reason: string; basis: string } }>(
    '/holds',
    routes.place,
    async (request, reply) => reply.code(201).send(await placeHold(context, request.body, request)),
  )
  app.post<WithReason>('/holds/:id/release', routes.release, async (request) => {
    const { params, body } = request
    const hold = await releaseHold(context, params.id, body.reason, request)
    if (hold === null) throw new PARAPET_PRIVACY_NOT_FOUND()
    return hold
  })
}

function addReportRoutes(app: FastifyInstance, { privacy }: RouteParts): void {
  app.get('/register', routes.register, async () => privacy.register())
  app.get('/register.md', routes.registerPage, async (_request, reply) => {
    reply.type('text/markdown; charset=utf-8')
    return reply.send(renderRegister(privacy.register()))
  })
  app.get('/inventory', routes.inventory, async () => ({
    items: privacy.inventory(),
    findings: privacy.lint(),
  }))
  app.get('/sweeps', routes.sweeps, async () => ({ items: await privacy.sweeps() }))
  app.post<{ Body: { dryRun: boolean } }>('/sweeps', routes.sweep, async ({ body }) =>
    privacy.sweep(body),
  )
}
