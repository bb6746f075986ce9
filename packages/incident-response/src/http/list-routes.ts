/** Routes of all incidents: list, report, metrics, feed, simulation, and dead letters. */
import type { FastifyInstance } from 'fastify'
import type { Finding } from '../incidents/finding.ts'
import type { IncidentSeverity } from '../incidents/incident.ts'
import { show, type Routes } from './route-parts.ts'
import { schemas } from './schemas.ts'

/** The list has one address, without a slash at its end. */
const once = { prefixTrailingSlash: 'no-slash' } as const

export function addListRoutes(
  app: FastifyInstance,
  { incidents, reading, writing, by }: Routes,
): void {
  interface Query {
    state?: 'open' | 'closed'
    severity?: IncidentSeverity
    type?: string
    assignee?: string
    limit: number
    cursor?: string
  }
  app.get<{ Querystring: Query }>(
    '/',
    { ...reading, ...once, schema: schemas.list },
    async (request) => {
      const { cursor, limit, ...filter } = request.query
      const found = await incidents.list({
        ...filter,
        limit,
        ...(cursor !== undefined && { before: cursor }),
      })
      return { items: found.map(show), cursor: found.length === limit ? found.at(-1)!.id : null }
    },
  )
  type Body = Finding & { note?: string }
  app.post<{ Body: Body }>(
    '/',
    { ...writing, ...once, schema: schemas.open },
    async (request, reply) => {
      const { note, ...finding } = request.body
      const who = by(request)
      const incident = await incidents.report({ ...finding, by: who.by })
      if (note !== undefined && note !== '') await incidents.comment(incident.id, note, who)
      return reply.code(201).send(show((await incidents.find(incident.id)) ?? incident))
    },
  )
}

/** What is about all incidents together. */
export function addOverviewRoutes(
  app: FastifyInstance,
  { incidents, feeds, reading, writing }: Routes,
): void {
  type Range = { Querystring: { since?: number; until?: number } }
  app.get<Range>('/metrics', { ...reading, schema: schemas.metrics }, ({ query }) =>
    incidents.metrics(query.since, query.until),
  )
  // HEAD would open a feed, too.
  app.get(
    '/feed',
    { ...reading, schema: schemas.feed, exposeHeadRoute: false },
    async (request, reply) => {
      await feeds.open(request, reply)
      return reply
    },
  )
  app.post<{ Body: Finding }>('/simulate', { ...reading, schema: schemas.simulate }, ({ body }) =>
    incidents.simulate(body),
  )
  app.get('/dead-letters', { ...reading, schema: schemas.deadLetters }, async () => ({
    items: await incidents.deadLetters(),
    cursor: null,
  }))
  // The id of a message has colons, and none has a slash.
  type Letter = { Params: { '*': string } }
  app.post<Letter>(
    '/dead-letters/*',
    { ...writing, schema: schemas.retryDeadLetter },
    async (request, reply) => {
      await incidents.retryDeadLetter(request.params['*'].replace(/\/retry$/, ''))
      return reply.code(204).send(null)
    },
  )
}
