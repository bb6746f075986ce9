/** Stores users. Their passwords are read and written by `access/accounts.ts`. */
import type { SqlQueryable } from '@parapet/kit'
import { PARAPET_REFERENCE_EMAIL_TAKEN, PARAPET_REFERENCE_USER_HAS_CONTENT } from '../errors.ts'
import { createTable, type Table } from '../storage/table.ts'
import type { UserValues } from './schemas.ts'

/** Creates the repository of users. */
export function createUsers(sql: SqlQueryable): Table<UserValues> {
  return createTable<UserValues>(sql, {
    name: 'users',
    columns: { email: 'email', displayName: 'display_name', roles: 'roles' },
    conflicts: {
      '23505': PARAPET_REFERENCE_EMAIL_TAKEN,
      '23503': PARAPET_REFERENCE_USER_HAS_CONTENT,
    },
  })
}
