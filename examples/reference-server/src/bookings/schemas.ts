/** The schemas of a booking: an artist plays at a venue on a day. */
import { Encrypted } from '@parapet/field-encryption'
import { FutureDate, Multiple, Uuid } from '@parapet/input-guard'
import { Type, type Static } from '@sinclair/typebox'
import { roles } from '../access/policy.ts'
import { describeResource } from '../http/resource-schemas.ts'
import { closedObject, multiLineText, PageQuery, problems, storedMembers } from '../http/schemas.ts'

/** What a client offers for a concert. */
const Offer = closedObject({
  artistId: Uuid(),
  venueId: Uuid(),
  date: FutureDate({ maxDays: 730, description: 'The day of the concert' }),
  hours: Multiple('0.01', { minimum: 0.5, maximum: 24 }),
  price: Multiple('0.01', {
    minimum: 0,
    maximum: 10_000_000,
    description: 'In the currency of the artist, with two decimals at most',
  }),
})
const states = ['requested', 'confirmed', 'cancelled'] as const
const status = Type.Unsafe<(typeof states)[number]>(
  Type.String({ enum: [...states], description: 'Only bookers confirm' }),
)
// The database shows a booking to its owner and to bookers only: all of them may read the note.
const note = Encrypted(multiLineText(2000, 'For the artist; stored encrypted'), {
  reveal: [...roles],
})

const NewBooking = closedObject({ ...Offer.properties, note: Type.Optional(note) })
const BookingChanges = closedObject(
  { status: Type.Optional(status), note: Type.Optional(note) },
  { minProperties: 1 },
)
const money = {
  priceMinor: Type.Integer({ description: 'In the smallest unit of the currency' }),
  currency: Type.String({ description: 'ISO 4217; that of the artist' }),
}

/** A booking as the routes return it. */
export const Booking = closedObject(
  {
    ...storedMembers,
    userId: Type.Union([Type.String({ format: 'uuid' }), Type.Null()], {
      description: 'Who asked for it; null if the account is deleted',
    }),
    artistId: Type.String({ format: 'uuid' }),
    venueId: Type.String({ format: 'uuid' }),
    date: Type.String({ format: 'date' }),
    hours: Type.Number(),
    ...money,
    status,
    note: Type.Optional(note),
  },
  { $id: 'Booking' },
)

/** The encrypted member of a booking, and the id that binds it to its row. */
export const EncryptedBooking = Type.Object({ id: storedMembers.id, note })

/** The values of a booking in the database. */
export type BookingValues = Omit<Static<typeof Booking>, keyof typeof storedMembers>

const resource = describeResource({
  one: 'a booking',
  many: 'bookings',
  names: ['Booking', 'Bookings'],
  stored: Booking,
  created: NewBooking,
  changes: BookingChanges,
})

/** The schemas of the routes of bookings. */
export const bookingRoutes = {
  create: resource.create,
  get: resource.get,
  change: resource.change,
  list: {
    ...resource.list,
    summary: 'List the own bookings, for bookers all, the oldest first',
    querystring: closedObject({ ...PageQuery.properties, status: Type.Optional(status) }),
  },
  evaluate: {
    operationId: 'evaluateBooking',
    summary: 'Compare an offer with the usual price of the artist, and check the day',
    tags: ['bookings'],
    body: Offer,
    response: {
      200: closedObject({
        ...Offer.properties,
        ...money,
        usualMinor: Type.Integer({ description: 'What the artist asks for these hours' }),
        isFree: Type.Boolean({ description: 'Whether the artist plays nowhere else that day' }),
        verdict: Type.Unsafe<'unavailable' | 'low' | 'fair' | 'high'>(
          Type.String({ enum: ['unavailable', 'low', 'fair', 'high'] }),
        ),
      }),
      ...problems,
    },
  },
}
