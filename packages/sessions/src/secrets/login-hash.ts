/** Names of logins in events. */
import { createHmac } from 'node:crypto'
import { deriveKey } from './derive-key.ts'

/** The hash of a login name or an address. */
export type LoginHash = (login: string) => string

/**
 * A keyed hash: events show which failed logins used the same name, but not which name it was. Names
 * that differ by case or by spaces around them have the same hash.
 *
 * @param secret the first one of the fleet.
 */
export function createLoginHash(secret: string): LoginHash {
  const key = deriveKey(secret, 'login hash')
  return (login) => {
    const name = login.normalize('NFKC').trim().toLowerCase()
    return createHmac('sha256', key).update(name).digest('base64url').slice(0, 22)
  }
}
