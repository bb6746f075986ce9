/** `/analytics`: how the business goes. Sums and counts only; no row of a person leaves. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { DateRange } from '@parapet/input-guard'
import { Type } from '@sinclair/typebox'
import { closedObject, problems } from '../http/schemas.ts'
import { readSummary } from './summary.ts'

const count = (description: string) => Type.Integer({ minimum: 0, description })

const Summary = closedObject({
  from: Type.String({ format: 'date' }),
  to: Type.String({ format: 'date' }),
  artists: count('All artists'),
  venues: count('All venues'),
  publishedContent: count('All published content'),
  months: Type.Array(
    closedObject({
      month: Type.String({ description: 'Of the concerts: `2027-03`' }),
      currency: Type.String({ description: 'ISO 4217' }),
      requested: count('Bookings that wait for an answer'),
      confirmed: count('Confirmed bookings'),
      cancelled: count('Cancelled bookings'),
      confirmedMinor: Type.Integer({ description: 'Their prices, in the smallest unit' }),
    }),
  ),
})

const summary = {
  schema: {
    operationId: 'getAnalyticsSummary',
    summary: 'Summarize the bookings of concerts between two days, by month and currency',
    tags: ['analytics'],
    querystring: DateRange({ maxDays: 731 }),
    response: { 200: Summary, ...problems },
  },
  config: { rbac: 'analytics:read' },
} as const

/** The routes of analytics. */
export const analytics: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/summary', summary, ({ query }) => readSummary(app.sql, query.from, query.to))
}
