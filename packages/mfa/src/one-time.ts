/** Things that work once: enrolment tickets and the challenges of passkey ceremonies. */
import { takeRandom, type Cipher, type Store } from '@parapet/kit'
import { hashText } from './digest.ts'

/** What is kept behind a token, until it is taken or expires. */
export interface OneTime<T> {
  /** Keeps a value and returns the token that leads to it: 256 random bits, base64url. */
  put(value: T): Promise<string>
  /** What a token leads to; `null` when it is unknown, expired or taken. */
  look(token: string): Promise<T | null>
  /** Takes the value away: of any number of racers one gets it, the others `null`. */
  take(token: string): Promise<T | null>
}

const TOKEN_BYTES = 32
const TOKEN = /^[\w-]{43}$/

/**
 * Makes a kind of one-time values. The store holds neither the token nor the value: a hash of the one
 * and the other sealed, so that a dump of it opens nothing.
 *
 * @param kind stands in the key and in the context that values are sealed for.
 */
export function createOneTime<T>(
  store: Store,
  cipher: Cipher,
  kind: string,
  ttlMs: number,
): OneTime<T> {
  const keyOf = (token: string): string => `mfa:${kind}:${hashText(token)}`
  const open = async (token: string, sealed: string | null): Promise<T | null> => {
    if (sealed === null) return null
    const bytes = await cipher.open(sealed, ['mfa', kind, hashText(token)])
    return JSON.parse(bytes.toString()) as T
  }
  return {
    async put(value) {
      const token = takeRandom(TOKEN_BYTES).toString('base64url')
      const sealed = await cipher.seal(JSON.stringify(value), ['mfa', kind, hashText(token)])
      await store.set(keyOf(token), sealed, ttlMs)
      return token
    },
    look: async (token) => (TOKEN.test(token) ? open(token, await store.get(keyOf(token))) : null),
    take: async (token) =>
      TOKEN.test(token) ? open(token, await store.getAndDelete(keyOf(token))) : null,
  }
}
