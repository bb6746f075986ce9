/** Stores users. Their passwords are read and written by `access/accounts.ts`. */
import { uuidV7, type SqlQueryable } from '@parapet/kit'
import { PARAPET_REFERENCE_EMAIL_TAKEN, PARAPET_REFERENCE_USER_HAS_CONTENT } from '../errors.ts'
import type { Changed } from '../logging/record-change.ts'
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

/** How a change of a user is recorded: who someone is, is personal. */
export function recorded(action: string, id: string): Changed {
  return { action, resource: 'user', id, hidden: ['email', 'displayName'] }
}

/** A user to register. */
export interface Registration {
  readonly email: string
  readonly displayName: string
  readonly passwordHash: string
}

/**
 * Creates a user, unless the address is taken: then nothing changes, except for an account whose address was
 * never verified. It belongs to nobody yet, and its link works only with the password of the last registration.
 * All cases run one statement that writes one row, so that the duration of the response does not reveal which one
 * it was. One statement also means that a crash cannot leave an account without a password.
 *
 * @returns the id of the user with this address, and whether that user is new.
 */
export async function registerUser(
  sql: SqlQueryable,
  { email, displayName, passwordHash }: Registration,
): Promise<{ readonly id: string; readonly isNew: boolean }> {
  const id = uuidV7()
  const { rows } = await sql.query<{ id: string }>(
    `INSERT INTO users (id, email, display_name, password_hash) VALUES ($1, $2, $3, $4)
     ON CONFLICT (lower(email COLLATE "C")) DO UPDATE SET
       display_name = CASE WHEN users.email_verified_at IS NULL
                           THEN excluded.display_name ELSE users.display_name END,
       password_hash = CASE WHEN users.email_verified_at IS NULL
                            THEN excluded.password_hash ELSE users.password_hash END,
       updated_at = CASE WHEN users.email_verified_at IS NULL
                         THEN now() ELSE users.updated_at END
     RETURNING id::text AS id`,
    [id, email, displayName, passwordHash],
  )
  const found = rows[0]!.id
  return { id: found, isNew: found === id }
}
