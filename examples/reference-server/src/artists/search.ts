/** The search for artists: what it may ask, and the condition in SQL. */
import { DateRange, SearchQuery } from '@parapet/input-guard'
import { Type, type Static } from '@sinclair/typebox'
import { PageQuery } from '../http/schemas.ts'
import { allOf, containing } from '../storage/conditions.ts'
import type { Condition } from '../storage/table.ts'
import { Platform } from './platforms.ts'

/** A range is at most a year, and does not end before it begins. */
const {
  properties: days,
  required: _both,
  type: _object,
  ...rangeRules
} = DateRange({ maxDays: 366 })

/** The query string of the search. */
export const SearchArtists = Type.Object(
  {
    ...PageQuery.properties,
    name: Type.Optional(
      SearchQuery({ minLength: 1, description: 'A part of the name, in any case' }),
    ),
    platform: Type.Optional(Platform),
    from: Type.Optional({ ...days.from, description: 'The first day without a confirmed booking' }),
    to: Type.Optional({ ...days.to, description: 'The last such day; `from` by default' }),
  },
  { ...rangeRules, additionalProperties: false, dependencies: { to: ['from'] } },
)

/** The artists whom a search finds. */
export function selectedBy({ name, platform, from, to }: Static<typeof SearchArtists>) {
  return allOf(containing(['name'], name), playingOn(platform), freeOn(from, to ?? from))
}

function playingOn(platform: string | undefined): Condition | undefined {
  if (platform === undefined) return undefined
  return (first) => ({ text: `$${first} = ANY (platforms)`, values: [platform] })
}

function freeOn(from: string | undefined, to: string | undefined): Condition | undefined {
  if (from === undefined) return undefined
  return (first) => ({
    text: `NOT EXISTS (SELECT FROM bookings WHERE bookings.artist_id = artists.id
      AND status = 'confirmed' AND on_date BETWEEN $${first}::date AND $${first + 1}::date)`,
    values: [from, to],
  })
}
