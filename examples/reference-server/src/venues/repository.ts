/** Stores venues. */
import type { SqlQueryable } from '@parapet/kit'
import { PARAPET_REFERENCE_HAS_BOOKINGS } from '../errors.ts'
import { createTable, type Table } from '../storage/table.ts'
import type { NewVenue } from './schemas.ts'

/** Creates the repository of venues. */
export function createVenues(sql: SqlQueryable): Table<NewVenue> {
  return createTable<NewVenue>(sql, {
    name: 'venues',
    columns: { name: 'name', city: 'city', country: 'country', capacity: 'capacity' },
    conflicts: { '23503': PARAPET_REFERENCE_HAS_BOOKINGS },
  })
}
