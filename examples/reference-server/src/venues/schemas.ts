/** The schemas of a venue: where artists play. */
import { CountryCode } from '@parapet/input-guard'
import { Type, type Static } from '@sinclair/typebox'
import { describeResource } from '../http/resource-schemas.ts'
import { changesOf, closedObject, singleLineText, storedMembers } from '../http/schemas.ts'

const members = {
  name: singleLineText(100, 'The name of the venue, in any script'),
  city: singleLineText(100, 'The city, in any script'),
  country: CountryCode({ description: 'ISO 3166-1 alpha-2' }),
  capacity: Type.Integer({ minimum: 1, maximum: 500_000, description: 'Places for the audience' }),
}

/** The body that creates a venue. */
const NewVenue = closedObject(members)
/** A venue as the routes return it. */
export const Venue = closedObject({ ...storedMembers, ...members }, { $id: 'Venue' })

export type NewVenue = Static<typeof NewVenue>

/** The schemas of the routes of venues. */
export const venueRoutes = describeResource({
  one: 'a venue',
  many: 'venues',
  names: ['Venue', 'Venues'],
  stored: Venue,
  created: NewVenue,
  changes: changesOf(NewVenue),
})
