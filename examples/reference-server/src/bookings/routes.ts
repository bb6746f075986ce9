/** `/bookings`: who asked which artist to play where, and what an offer is worth. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { uuidV7, type SqlQueryable } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { PARAPET_REFERENCE_BOOKING_PARTS_UNKNOWN } from '../errors.ts'
import { API } from '../http/api.ts'
import { etagOf, readIfMatch } from '../http/etag.ts'
import { idOf } from '../http/schemas.ts'
import { changes, recordChange, type Changed } from '../logging/record-change.ts'
import { actingAs } from '../storage/row-security.ts'
import type { Condition } from '../storage/table.ts'
import { decideVerdict, toMinor } from './price.ts'
import { createBookings, findOffer } from './repository.ts'
import { Booking, bookingRoutes } from './schemas.ts'

/** Who wants to play where, and what is written about it, is personal. */
const recorded = (action: string, id: string): Changed => {
  return { action, resource: 'booking', id, hidden: ['note'] }
}

const members = { rbac: { authenticated: 'the database shows own bookings only' } } as const
const creation = {
  schema: bookingRoutes.create,
  config: { audit: changes('booking.create'), ...members },
} as const

function inState(status: string | undefined): Condition | undefined {
  if (status === undefined) return undefined
  return (first) => ({ text: `status = $${first}`, values: [status] })
}

type App = Parameters<FastifyPluginAsyncTypebox>[0]

/** Reads bookings as the principal of the request, who sees those that the database shows. */
const bookingsOf = ({ fieldEncryption, log }: FastifyInstance, sql: SqlQueryable) =>
  createBookings({ sql, fieldEncryption, log })

const findBooking = (app: FastifyInstance, request: FastifyRequest) =>
  actingAs(app.sql, request.principal, (sql) => bookingsOf(app, sql).find(idOf(request)))

/** What the artist asks for the offer of a request. @throws PARAPET_REFERENCE_BOOKING_PARTS_UNKNOWN */
async function usualOffer(app: FastifyInstance, artistId: string, date: string) {
  const offer = await findOffer(app.sql, artistId, date)
  if (offer === null) throw new PARAPET_REFERENCE_BOOKING_PARTS_UNKNOWN()
  return offer
}

/** The routes of bookings. */
export const bookings: FastifyPluginAsyncTypebox = async (app) => {
  app.addSchema(Booking)
  addReadRoutes(app)
  addWriteRoutes(app)
}

function addReadRoutes(app: App): void {
  app.get('', { schema: bookingRoutes.list, config: members }, ({ principal, query }) =>
    actingAs(app.sql, principal, (sql) => bookingsOf(app, sql).list(query, inState(query.status))),
  )

  app.get('/:id', { schema: bookingRoutes.get, config: members }, async (request, reply) => {
    const booking = await findBooking(app, request)
    return reply.header('etag', etagOf(booking)).send(booking)
  })

  app.post(
    '/evaluations',
    { schema: bookingRoutes.evaluate, config: members },
    async ({ body }) => {
      const { artistId, date, hours, price } = body
      const { currency, hourlyRateMinor, isFree } = await usualOffer(app, artistId, date)
      const priceMinor = toMinor(price, currency)
      const usualMinor = Math.round(hourlyRateMinor * hours)
      const verdict = decideVerdict(priceMinor, usualMinor, isFree)
      return { ...body, priceMinor, currency, usualMinor, isFree, verdict }
    },
  )
}

function addWriteRoutes(app: App): void {
  /** A booker changes every booking, others their own; only a booker confirms. */
  const change = {
    schema: bookingRoutes.change,
    config: {
      audit: changes('booking.update'),
      rbac: {
        permission: 'bookings:write',
        resource: (each: FastifyRequest) => findBooking(app, each),
      },
    },
  } as const

  app.post('', creation, async (request, reply) => {
    const { price, ...rest } = request.body
    const { currency } = await usualOffer(app, rest.artistId, rest.date)
    const values = {
      ...rest,
      priceMinor: toMinor(price, currency),
      currency,
      userId: request.principal!.id,
      status: 'requested' as const,
    }
    const id = uuidV7()
    const recording = recorded('booking.create', id)
    const booking = await recordChange(app.sql, request, recording, async (tx) => {
      return { before: {}, after: await bookingsOf(app, tx).insert(values, id) }
    })
    const headers = { location: `${API}/bookings/${id}`, etag: etagOf(booking) }
    return reply.code(201).headers(headers).send(booking)
  })

  app.patch('/:id', change, async (request, reply) => {
    const { body, headers, rbac } = request
    const id = idOf(request)
    if (body.status !== undefined && body.status !== 'cancelled') {
      await rbac.authorize('bookings:confirm')
    }
    const recording = recorded('booking.update', id)
    const booking = await recordChange(app.sql, request, recording, async (tx) => {
      const table = bookingsOf(app, tx)
      const before = await table.lock(id)
      return { before, after: await table.update(id, body, readIfMatch(headers['if-match'])) }
    })
    return reply.header('etag', etagOf(booking)).send(booking)
  })
}
