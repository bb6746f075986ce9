/** Tokens that work once: enrolment tickets and passkey challenges. */
import { takeRandom, type Cipher, type Store } from '@parapet/kit'
import { hashText } from './hash-text.ts'

/** Values behind one-time tokens. */
export interface OneTimeTokens<T> {
  /** Stores a value and returns its token: 256 random bits, base64url. */
  issue(value: T): Promise<string>
  /** Reads the value of a token; `null` if the token is unknown, expired or used. */
  read(token: string): Promise<T | null>
  /** Uses a token up. Of concurrent callers one gets the value, the others get `null`. */
  redeem(token: string): Promise<T | null>
}

const TOKEN_BYTES = 32
const TOKEN = /^[\w-]{43}$/

/**
 * Creates one kind of one-time tokens. The store holds a hash of the token and the sealed value, so
 * a dump of the store reveals neither.
 *
 * @param kind part of the key and of the cipher context: `ticket`, `challenge`.
 */
export function createOneTimeTokens<T>(
  store: Store,
  cipher: Cipher,
  kind: string,
  ttlMs: number,
): OneTimeTokens<T> {
  const keyOf = (token: string): string => `mfa:${kind}:${hashText(token)}`
  const open = async (token: string, sealed: string | null): Promise<T | null> => {
    if (sealed === null) return null
    const bytes = await cipher.open(sealed, ['mfa', kind, hashText(token)])
    return JSON.parse(bytes.toString()) as T
  }
  return {
    async issue(value) {
      const token = takeRandom(TOKEN_BYTES).toString('base64url')
      const sealed = await cipher.seal(JSON.stringify(value), ['mfa', kind, hashText(token)])
      await store.set(keyOf(token), sealed, ttlMs)
      return token
    },
    read: async (token) => (TOKEN.test(token) ? open(token, await store.get(keyOf(token))) : null),
    redeem: async (token) =>
      TOKEN.test(token) ? open(token, await store.getAndDelete(keyOf(token))) : null,
  }
}
