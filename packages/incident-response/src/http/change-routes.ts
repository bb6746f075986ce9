/** Routes that change one incident. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { IncidentSeverity, Link, Phase, Resolution } from '../incidents/incident.ts'
import { show, type IdParams, type Routes } from './route-parts.ts'
import { schemas } from './schemas.ts'

export function addChangeRoutes(app: FastifyInstance, { incidents, writing, by }: Routes): void {
  app.post<IdParams>(
    '/:id/acknowledge',
    { ...writing, schema: schemas.acknowledge },
    async (request) => show(await incidents.acknowledge(request.params.id, by(request))),
  )
  type Assign = IdParams & { Body: { assignee: string | null } }
  app.put<Assign>('/:id/assignee', { ...writing, schema: schemas.assign }, async (request) =>
    show(await incidents.assign(request.params.id, request.body.assignee, by(request))),
  )
  type Severity = IdParams & { Body: { severity: IncidentSeverity; note?: string } }
  app.put<Severity>(
    '/:id/severity',
    { ...writing, schema: schemas.setSeverity },
    async (request) => {
      const { severity, note } = request.body
      return show(await incidents.setSeverity(request.params.id, severity, by(request, note)))
    },
  )
  type Comment = IdParams & { Body: { text: string } }
  app.post<Comment>(
    '/:id/comments',
    { ...writing, schema: schemas.comment },
    async (request, reply) => {
      const entry = await incidents.comment(request.params.id, request.body.text, by(request))
      return reply.code(201).send(entry)
    },
  )
  app.post<IdParams & { Body: Link }>(
    '/:id/links',
    { ...writing, schema: schemas.link },
    async (request) => show(await incidents.link(request.params.id, request.body, by(request))),
  )
  type Move = IdParams & { Body: { to: Exclude<Phase, 'closed'>; note?: string } }
  app.post<Move>(
    '/:id/transitions',
    { ...writing, schema: schemas.transition },
    async (request) => {
      const { to, note } = request.body
      return show(await incidents.transition(request.params.id, to, by(request, note)))
    },
  )
  type Close = IdParams & { Body: { resolution: Resolution; note?: string } }
  app.post<Close>('/:id/close', { ...writing, schema: schemas.close }, async (request) => {
    const { resolution, note } = request.body
    return show(await incidents.close(request.params.id, resolution, by(request, note)))
  })
  type Note = IdParams & { Body: { note?: string } }
  app.post<Note>(
    '/:id/reopen',
    { ...writing, schema: schemas.reopen, preValidation: acceptNoBody },
    async (request) =>
      show(await incidents.reopen(request.params.id, by(request, request.body.note))),
  )
  type Merge = IdParams & { Body: { into: string } }
  app.post<Merge>('/:id/merge', { ...writing, schema: schemas.merge }, async (request) =>
    show(await incidents.merge(request.params.id, request.body.into, by(request))),
  )
}

/** Every member of the body may be left out, and so may the body. */
async function acceptNoBody(request: FastifyRequest): Promise<void> {
  request.body ??= {}
}
