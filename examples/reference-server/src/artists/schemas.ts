/** The shape of an artist on the booking platform. */
import { Encrypted, mask } from '@parapet/field-encryption'
import { Type, type Static } from '@sinclair/typebox'
import { describeResource } from '../resource.ts'
import { changesOf, closedObject, line, prose, storedMembers } from '../schemas.ts'
import { currencies } from './currencies.ts'

const members = {
  name: line(100, 'The name on the poster, in any script'),
  genres: Type.Array(line(50, 'A genre'), { minItems: 1, maxItems: 10, uniqueItems: true }),
  hourlyRateMinor: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    description: "In the currency's smallest unit: 12000 is 120.00 EUR, and 12000 JPY",
  }),
  currency: Type.String({ enum: [...currencies], description: 'ISO 4217' }),
}
const bio = prose(2000, 'About the artist; empty at first')
const phone = Encrypted(
  Type.String({
    pattern: String.raw`^\+[0-9]{7,15}$`,
    maxLength: 16,
    description: 'Kept encrypted; only who books or administers sees all of it. @see ITU-T E.164',
  }),
  { reveal: ['admin', 'booker'], mask: { default: mask.last(4) } },
)
const available = Type.Boolean({ description: 'Whether bookings are taken; true at first' })

/** What a caller sends to make an artist. */
export const NewArtist = closedObject({
  ...members,
  bio: Type.Optional(bio),
  available: Type.Optional(available),
  phone: Type.Optional(phone),
})
/** What a caller sends to change one. */
const ArtistChanges = changesOf(NewArtist)
/** An artist as it is returned. */
export const Artist = closedObject(
  { ...storedMembers, ...members, bio, available, phone: Type.Optional(phone) },
  { $id: 'Artist' },
)

/** What of an artist is encrypted, and what ties it to its row. */
export const SealedArtist = Type.Object({ id: storedMembers.id, phone })

export type NewArtist = Static<typeof NewArtist>

/** The schemas of its routes. */
export const artistRoutes = describeResource({
  one: 'an artist',
  many: 'artists',
  names: ['Artist', 'Artists'],
  stored: Artist,
  created: NewArtist,
  changes: ArtistChanges,
})
