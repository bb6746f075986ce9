/** Login accounts: the roles, the address and the password hash of each user. */
import type { SqlClient } from '@parapet/kit'
import {
  PARAPET_SESSIONS_ACCOUNT_UNREADABLE,
  type Account,
  type AccountDirectory,
  type AccountStatus,
  type PasswordAccount,
  type Sessions,
  type SessionUser,
} from '@parapet/sessions'

interface AccountRow {
  readonly id: string
  readonly email: string
  readonly displayName: string
  readonly isEmailVerified: boolean
  readonly roles: string[]
  readonly passwordHash: string | null
}

/** Reads and changes login accounts. */
export interface Accounts extends AccountDirectory {
  /** Reads a user's current roles; `null`: no such user. */
  findUser(id: string): Promise<SessionUser | null>
  /** Finds the account of an e-mail address; `null`: no such user, or one without a password. */
  findByLogin(login: string): Promise<PasswordAccount | null>
  /** Reads a user's e-mail address; `null`: no such user. */
  findEmail(id: string): Promise<string | null>
  /** Replaces the hash of a former system, or a weaker one, if it is still `previous`. */
  saveHash(id: string, passwordHash: string, previous: string): Promise<void>
}

// Under the collation of the index. In a Turkish locale, for instance, the lower case of I is ı.
const SAME_EMAIL = 'lower(email COLLATE "C") = lower($1::text COLLATE "C")'
const SAME_ID = 'id::text = $1'
const FREE_ADDRESS = `
  DELETE FROM users WHERE ${SAME_EMAIL} AND email_verified_at IS NULL AND id::text <> $2`
const CHANGE_ADDRESS = `
  UPDATE users SET version = version + 1, updated_at = now(), email = $2, email_verified_at = now()
   WHERE id::text = $1 AND email = $3`

/** Rolls the transaction back. */
class NotChanged extends Error {}

/** Creates the accounts over the table of users. */
export function createAccounts(sql: SqlClient): Accounts {
  const update = async (text: string, values: readonly unknown[]): Promise<boolean> =>
    (await sql.query(`UPDATE users SET updated_at = now(), ${text}`, values)).rowCount === 1
  const savePassword: Accounts['savePassword'] = (...change) =>
    update(
      'password_hash = $2 WHERE id::text = $1 AND password_hash IS NOT DISTINCT FROM $3',
      change,
    )
  return {
    async findUser(id) {
      const row = await findRow(sql, SAME_ID, id)
      return row === null ? null : { id: row.id, roles: row.roles }
    },
    async findByLogin(login) {
      const row = await findRow(sql, SAME_EMAIL, login)
      if (row === null || row.passwordHash === null) return null
      const { id, roles, passwordHash, isEmailVerified } = row
      // Somebody else may have registered with the address.
      return { user: { id, roles }, passwordHash, disabled: !isEmailVerified }
    },
    async findEmail(id) {
      return (await findRow(sql, SAME_ID, id))?.email ?? null
    },
    async findById(id) {
      return accountOf(await findRow(sql, SAME_ID, id))
    },
    async findByEmail(email) {
      return accountOf(await findRow(sql, SAME_EMAIL, email))
    },
    savePassword,
    saveHash: async (...change) => void (await savePassword(...change)),
    verifyEmail: (id, email) =>
      update(
        'email_verified_at = coalesce(email_verified_at, now()) WHERE id::text = $1 AND email = $2',
        [id, email],
      ),
    async saveEmail(id, email, previous) {
      try {
        return await sql.transaction(async (transaction) => {
          // A sign-up that nobody verified belongs to nobody: it must not keep the owner of the mailbox out.
          await transaction.query(FREE_ADDRESS, [email, id])
          const change = await transaction.query(CHANGE_ADDRESS, [id, email, previous])
          if (change.rowCount !== 1) throw new NotChanged()
          return true
        })
      } catch (error) {
        if (error instanceof NotChanged) return false
        // The address is taken. @see PostgreSQL, Appendix A, unique_violation
        if ((error as { readonly code?: unknown }).code === '23505') return false
        throw error
      }
    },
  }
}

/** Reads whether the account is locked; `undefined`: the record cannot be read, which closes the account. */
export async function readAccountStatus(
  sessions: Sessions,
  id: string,
): Promise<AccountStatus | undefined> {
  try {
    return await sessions.accountStatus(id)
  } catch (error) {
    if (error instanceof PARAPET_SESSIONS_ACCOUNT_UNREADABLE) return undefined
    throw error
  }
}

function accountOf(row: AccountRow | null): Account | null {
  if (row === null) return null
  const { id, roles, email, displayName, isEmailVerified, passwordHash } = row
  return { user: { id, roles }, email, isEmailVerified, passwordHash, words: [displayName] }
}

async function findRow(sql: SqlClient, where: string, value: string): Promise<AccountRow | null> {
  const { rows } = await sql.query<AccountRow>(
    `SELECT id::text AS id, email, roles, display_name AS "displayName",
            password_hash AS "passwordHash", email_verified_at IS NOT NULL AS "isEmailVerified"
       FROM users WHERE ${where}`,
    [value],
  )
  return rows[0] ?? null
}
