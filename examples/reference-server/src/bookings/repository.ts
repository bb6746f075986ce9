/** Stores bookings. The note of each is encrypted and bound to its row. */
import type { FieldEncryption } from '@parapet/field-encryption'
import type { SqlQueryable } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'
import {
  PARAPET_REFERENCE_ARTIST_BOOKED,
  PARAPET_REFERENCE_BOOKING_PARTS_UNKNOWN,
} from '../errors.ts'
import { encryptMember } from '../storage/encrypted-member.ts'
import { createTable, type Table, type TableShape } from '../storage/table.ts'
import { EncryptedBooking, type BookingValues } from './schemas.ts'

/** The dependencies of the repository. */
export interface BookingPorts {
  readonly sql: SqlQueryable
  readonly fieldEncryption: FieldEncryption
  readonly log: Pick<FastifyBaseLogger, 'warn'>
}

const shape: TableShape<BookingValues> = {
  name: 'bookings',
  columns: {
    userId: 'user_id',
    artistId: 'artist_id',
    venueId: 'venue_id',
    date: 'on_date',
    hours: 'hours',
    priceMinor: 'price_minor',
    currency: 'currency',
    status: 'status',
    note: 'note',
  },
  reading: {
    userId: 'user_id::text',
    artistId: 'artist_id::text',
    venueId: 'venue_id::text',
    date: `to_char(on_date, 'YYYY-MM-DD')`,
    hours: 'hours::float8',
    priceMinor: 'price_minor::float8',
  },
  conflicts: {
    '23503': PARAPET_REFERENCE_BOOKING_PARTS_UNKNOWN,
    '23505': PARAPET_REFERENCE_ARTIST_BOOKED,
  },
}

/** Creates the repository of bookings. */
export function createBookings({ sql, fieldEncryption, log }: BookingPorts): Table<BookingValues> {
  return encryptMember(createTable<BookingValues>(sql, shape), 'note', {
    encrypted: fieldEncryption.table('bookings', EncryptedBooking),
    onUnreadable: (bookingId) =>
      log.warn({ bookingId }, 'left out the note of a booking that cannot be decrypted'),
  })
}

/** What an artist asks for an hour, and whether the artist is free on a day. */
export interface ArtistOffer {
  readonly hourlyRateMinor: number
  readonly currency: string
  readonly isFree: boolean
}

/** Reads what an artist asks. Every caller may know whether the artist is free. @returns `null`: no artist. */
export async function findOffer(
  sql: SqlQueryable,
  artistId: string,
  date: string,
): Promise<ArtistOffer | null> {
  const { rows } = await sql.query<ArtistOffer>(
    `SELECT hourly_rate_minor AS "hourlyRateMinor", currency,
       available AND NOT EXISTS (
         SELECT FROM bookings WHERE artist_id = artists.id AND status = 'confirmed' AND on_date = $2::date
       ) AS "isFree"
     FROM artists WHERE id = $1`,
    [artistId, date],
  )
  return rows[0] ?? null
}
