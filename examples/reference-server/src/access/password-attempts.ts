/**
 * Bounds how often the current password of an account can be tried. With a stolen access token, an
 * attacker could otherwise guess it here, and then take over the account.
 */
import { clientKey, type Store } from '@parapet/kit'
import { PARAPET_REFERENCE_TOO_MANY_PASSWORDS } from '../errors.ts'

/** Per account and client address. */
const PER_CLIENT = { windowMs: 900_000, limit: 10 }
/** Per account, from all addresses. @see NIST SP 800-63B-4, section 3.2.2 */
const PER_ACCOUNT = { windowMs: 86_400_000, limit: 100 }

/** One try of the current password. */
export interface PasswordAttempt {
  readonly userId: string
  /** The client address. */
  readonly ip: string
}

/**
 * Counts an attempt. Call it before the password is verified: simultaneous attempts are counted, too.
 * All instances share the count.
 *
 * @throws PARAPET_REFERENCE_TOO_MANY_PASSWORDS and `Retry-After`.
 */
export async function countAttempt(store: Store, attempt: PasswordAttempt): Promise<void> {
  const [client, account] = keysOf(attempt)
  for (const [key, window] of [
    [client, PER_CLIENT],
    [account, PER_ACCOUNT],
  ] as const) {
    const { counted, windows } = await store.count(key, [window])
    if (!counted) throw tooMany(windows[0]!.retryAfterMs)
  }
}

/** Forgets the attempts of an account, because its owner has sent the right password. */
export async function forgetAttempts(store: Store, attempt: PasswordAttempt): Promise<void> {
  await Promise.all(keysOf(attempt).map((key) => store.delete(key)))
}

function keysOf({ userId, ip }: PasswordAttempt): [client: string, account: string] {
  const account = `reference:passwords:${userId}`
  return [`${account}:${clientKey(ip)}`, account]
}

function tooMany(retryAfterMs: number): Error {
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000))
  const error = new PARAPET_REFERENCE_TOO_MANY_PASSWORDS(String(seconds))
  return Object.assign(error, { headers: { 'retry-after': String(seconds) } })
}
