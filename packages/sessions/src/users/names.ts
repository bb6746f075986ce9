/** Which strings may be ids of users, and names of roles, permissions and tenants. */

const MAX_ID_LENGTH = 300
const MAX_NAME_LENGTH = 128
const MAX_NAMES = 256

/** Whether a value can be the id of a user: 1 to 300 characters. */
export function isUserId(value: unknown): value is string {
  return isName(value, MAX_ID_LENGTH)
}

/** Whether a value is an array of at most 256 names. */
export function isNameList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= MAX_NAMES && value.every((name) => isName(name))
}

/** Whether a value is a name: 1 to `max` characters of valid Unicode. PostgreSQL rejects U+0000. */
export function isName(value: unknown, max = MAX_NAME_LENGTH): value is string {
  if (typeof value !== 'string' || value === '' || value.length > max) return false
  return value.isWellFormed() && !value.includes('\0')
}
