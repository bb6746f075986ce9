/** Routes that read one incident: itself, its timeline, runs, and report. */
import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { PARAPET_INCIDENT_RESPONSE_NOT_FOUND } from '../errors.ts'
import { reportStyle } from '../report/render.ts'
import type { ReportFormat } from '../service/incidents-api.ts'
import { show, type IdParams, type Routes } from './route-parts.ts'
import { schemas } from './schemas.ts'

export function addReadRoutes(app: FastifyInstance, { incidents, reading }: Routes): void {
  app.get<IdParams>('/:id', { ...reading, schema: schemas.read }, async ({ params }) => {
    const incident = await incidents.find(params.id)
    if (incident === null) throw new PARAPET_INCIDENT_RESPONSE_NOT_FOUND('incident')
    return show(incident)
  })
  type Timeline = IdParams & { Querystring: { after: number; limit: number } }
  app.get<Timeline>('/:id/timeline', { ...reading, schema: schemas.timeline }, async (request) => {
    const { after, limit } = request.query
    return { items: await incidents.timeline(request.params.id, after, limit), cursor: null }
  })
  app.get<IdParams>('/:id/runs', { ...reading, schema: schemas.runs }, async ({ params }) => ({
    items: await incidents.runs(params.id),
    cursor: null,
  }))
  type Report = IdParams & { Querystring: { format: ReportFormat } }
  app.get<Report>('/:id/report', { ...reading, schema: schemas.report }, async (request, reply) => {
    const { format } = request.query
    const text = await incidents.render(request.params.id, format)
    if (format === 'html') allowReportStyle(reply)
    return reply.type(MEDIA_TYPES[format]).serializer(String).send(text)
  })
}

const MEDIA_TYPES: Readonly<Record<ReportFormat, string>> = {
  markdown: 'text/markdown; charset=utf-8',
  html: 'text/html; charset=utf-8',
  json: 'application/json; charset=utf-8',
}

/** The page has one style and nothing else. */
const STYLE_HASH = createHash('sha256').update(reportStyle).digest('base64')

function allowReportStyle(reply: FastifyReply): void {
  const policy = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
  reply.header('content-security-policy', policy)
}
