/** Routes of subjects: their requests and consents. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  PARAPET_PRIVACY_CONFLICT,
  PARAPET_PRIVACY_NOT_FOUND,
  PARAPET_PRIVACY_STEP_UP_REQUIRED,
} from '../errors.ts'
import type { RequestDetails, RequestType } from '../requests/request.ts'
import { createLink } from '../service/archive-link.ts'
import { recordConsent } from '../service/consent-changes.ts'
import { askPort } from '../service/context.ts'
import { openRequest, requireOwn, withdrawRequest } from '../service/open-request.ts'
import { requireCaller, type RouteParts } from './route-tools.ts'
import { subjectRoutes as routes } from './schemas.ts'
import { readCursor, viewOfConsent, viewOfPage, viewOfRequest } from './views.ts'

interface WithId {
  readonly Params: { readonly id: string }
}
interface WithPurpose {
  readonly Params: { readonly purpose: string }
}

/** Adds the routes. */
export function addSubjectRoutes(app: FastifyInstance, parts: RouteParts): void {
  addRequestRoutes(app, parts)
  addConsentRoutes(app, parts)
}

function addRequestRoutes(app: FastifyInstance, parts: RouteParts): void {
  const { context } = parts
  app.post<{ Body: { type: RequestType; details?: RequestDetails } }>(
    '/requests',
    routes.open,
    async (request, reply) => {
      const { id: subject } = requireCaller(parts, request)
      await requireStepUp(parts, request, request.body.type)
      const body = await openRequest(context, { subject, ...request.body }, false, request)
      return reply.code(201).send(viewOfRequest(body))
    },
  )
  app.get<{ Querystring: { limit: number; cursor?: string } }>(
    '/requests',
    routes.list,
    async (request) => {
      const { limit, cursor } = request.query
      const owner = context.pseudonyms.referenceOf(requireCaller(parts, request).id)
      const filter = { owner, limit: limit + 1, ...readCursor(cursor) }
      return viewOfPage(await context.requests.list(filter), limit)
    },
  )
  app.get<WithId>('/requests/:id', routes.get, async (request) => {
    const { id: subject } = requireCaller(parts, request)
    return viewOfRequest(await requireOwn(context, subject, request.params.id))
  })
  app.post<WithId>('/requests/:id/withdraw', routes.withdraw, async (request) => {
    const { id: subject } = requireCaller(parts, request)
    return viewOfRequest(await withdrawRequest(context, subject, request.params.id, request))
  })
  app.post<WithId>('/requests/:id/link', routes.link, async (request, reply) => {
    const { id: subject } = requireCaller(parts, request)
    const { type } = await requireOwn(context, subject, request.params.id)
    await requireStepUp(parts, request, type)
    return reply.code(201).send(await createLink(context, subject, request.params.id))
  })
}

/** @throws PARAPET_PRIVACY_STEP_UP_REQUIRED, and what the option throws */
async function requireStepUp(
  { context, stepUp, principalOf }: RouteParts,
  request: FastifyRequest,
  type: RequestType,
): Promise<void> {
  if (context.settings.verify[type] === 'token') return
  const principal = principalOf(request)!
  const isProved: unknown = await askPort(context, 'stepUp', () => stepUp!(request, principal))
  if (isProved !== true) throw new PARAPET_PRIVACY_STEP_UP_REQUIRED()
}

function addConsentRoutes(app: FastifyInstance, parts: RouteParts): void {
  const { context } = parts
  const { consents } = context
  const view = async (subject: string, name: string) => {
    const purpose = consents.purposeOf(name)
    const consent = await consents.current(subject, name)
    return viewOfConsent(name, purpose, consent, consents.isGranted(consent))
  }
  app.get('/consents', routes.consents, async (request) => {
    const { id: subject } = requireCaller(parts, request)
    const names = Object.keys(context.settings.purposes)
    return { items: await Promise.all(names.map((name) => view(subject, name))) }
  })
  app.put<WithPurpose & { Body: { state: 'granted' | 'refused'; noticeVersion: string } }>(
    '/consents/:purpose',
    routes.give,
    async (request) => {
      const { id: subject } = requireCaller(parts, request)
      const { purpose } = request.params
      const { state, noticeVersion } = request.body
      // Nobody consents to a notice that was not shown.
      const { noticeVersion: current } = consents.purposeOf(purpose)
      if (current !== noticeVersion) throw new PARAPET_PRIVACY_CONFLICT(`notice ${current}`)
      const decision = { subject, purpose, state, by: 'subject', ...originOf(request) }
      await recordConsent(context, decision, request)
      return view(subject, purpose)
    },
  )
  app.delete<WithPurpose>('/consents/:purpose', routes.withdrawConsent, async (request) => {
    const { id: subject } = requireCaller(parts, request)
    const { purpose } = request.params
    const state = 'withdrawn'
    const decision = { subject, purpose, state, by: 'subject', ...originOf(request) } as const
    await recordConsent(context, decision, request)
    return view(subject, purpose)
  })
  app.get<WithPurpose>(
    '/consents/:purpose/receipt',
    routes.consentReceipt,
    async (request, reply) => {
      const { id: subject } = requireCaller(parts, request)
      const receipt = await parts.privacy.consents.receipt(subject, request.params.purpose)
      if (receipt === null) throw new PARAPET_PRIVACY_NOT_FOUND()
      reply.type('application/ld+json; charset=utf-8')
      return reply.send(receipt)
    },
  )
}

function originOf({ ip, headers }: FastifyRequest): { ip: string; userAgent?: string } {
  const userAgent = headers['user-agent']?.slice(0, 512)
  return { ip, ...(userAgent !== undefined && { userAgent }) }
}
