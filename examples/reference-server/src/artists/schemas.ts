/** The schemas of an artist on the booking platform. */
import { Encrypted, mask } from '@parapet/field-encryption'
import { FutureDate, Multiple, Uuid } from '@parapet/input-guard'
import { Type, type Static } from '@sinclair/typebox'
import { describeResource } from '../http/resource-schemas.ts'
import {
  changesOf,
  closedObject,
  multiLineText,
  pageOf,
  problems,
  singleLineText,
  storedMembers,
} from '../http/schemas.ts'
import { currencies } from './currencies.ts'
import { Platform, PLATFORMS } from './platforms.ts'
import { SearchArtists } from './search.ts'

const members = {
  name: singleLineText(100, 'The stage name, in any script'),
  genres: Type.Array(singleLineText(50, 'A genre'), {
    minItems: 1,
    maxItems: 10,
    uniqueItems: true,
  }),
  hourlyRateMinor: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    description: 'In the smallest unit of the currency: 12000 means 120.00 EUR or 12000 JPY',
  }),
  currency: Type.String({ enum: [...currencies], description: 'ISO 4217' }),
}
const bio = multiLineText(2000, 'About the artist; empty by default')
const shownTo = { reveal: ['admin', 'booker'], mask: { default: mask.last(4) } }
const phone = Encrypted(
  Type.String({
    pattern: String.raw`^\+[0-9]{7,15}$`,
    maxLength: 16,
    description:
      'E.164 number; stored encrypted, returned in full to bookers and administrators only',
  }),
  shownTo,
)
const shownPhone = Encrypted(
  Type.String({
    description: 'To everybody else than bookers and administrators, its last digits',
  }),
  shownTo,
)
const platforms = Type.Array(Platform, {
  maxItems: PLATFORMS.length,
  uniqueItems: true,
  description: 'Where the music can be heard; empty by default',
})
const available = Type.Boolean({
  description: 'Whether the artist accepts bookings; true by default',
})

/** The body that creates an artist. */
export const NewArtist = closedObject({
  ...members,
  bio: Type.Optional(bio),
  available: Type.Optional(available),
  phone: Type.Optional(phone),
  platforms: Type.Optional(platforms),
})
/** The body that changes an artist. */
const ArtistChanges = changesOf(NewArtist)
/** An artist as the routes return it. */
export const Artist = closedObject(
  { ...storedMembers, ...members, bio, available, platforms, phone: Type.Optional(shownPhone) },
  { $id: 'Artist' },
)

/** The encrypted member of an artist, and the id that binds it to its row. */
export const EncryptedArtist = Type.Object({ id: storedMembers.id, phone })

export type NewArtist = Static<typeof NewArtist>

/** The body that asks for the price of a booking. */
const Booking = closedObject({
  artistId: Uuid(),
  date: FutureDate({ maxDays: 730, description: 'The day of the concert' }),
  hours: Multiple('0.01', { minimum: 0.5, maximum: 24 }),
})

const resource = describeResource({
  one: 'an artist',
  many: 'artists',
  names: ['Artist', 'Artists'],
  stored: Artist,
  created: NewArtist,
  changes: ArtistChanges,
})

/** The schemas of the routes of artists. */
export const artistRoutes = {
  ...resource,
  search: {
    operationId: 'searchArtists',
    summary: 'Search artists by name, platform and free days',
    tags: ['artists'],
    querystring: SearchArtists,
    response: { 200: pageOf(Artist), ...problems },
  },
  quote: {
    operationId: 'quoteBooking',
    summary: 'Calculate the price of a booking',
    tags: ['artists'],
    body: Booking,
    response: {
      200: closedObject({
        ...Booking.properties,
        priceMinor: Type.Integer({ description: 'In the smallest unit of the currency' }),
        currency: members.currency,
      }),
      ...problems,
    },
  },
}
