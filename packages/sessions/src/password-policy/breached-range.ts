/** The range search of Have I Been Pwned: k-anonymity by the first five digits of a SHA-1 hash. */
import type { BreachedRange } from './password-policy.ts'

const RANGES = 'https://api.pwnedpasswords.com/range/'
/** A range has about 1000 lines of 40 characters, with padding. */
const MAX_BYTES = 262_144

/**
 * For the option `breachedRange`. The service sees five digits, which a thousand passwords share, and the address
 * of this server; the padding hides from an observer how many lines were found.
 *
 * @see https://haveibeenpwned.com/API/v3#PwnedPasswords
 */
export const fetchBreachedRange: BreachedRange = createRangeFetch(RANGES, fetch)

/** {@link fetchBreachedRange} at another place, such as a mirror in your own network. */
export function createRangeFetch(url: string, send: typeof fetch = fetch): BreachedRange {
  return async (prefix, signal) => {
    const headers = { 'add-padding': 'true', 'user-agent': 'parapet-sessions' }
    const response = await send(`${url}${prefix}`, { headers, signal, redirect: 'error' })
    if (!response.ok || response.body === null) {
      await response.body?.cancel()
      throw new Error(`the range of breached passwords answered ${response.status}`)
    }
    const chunks: Uint8Array[] = []
    let size = 0
    for await (const chunk of response.body) {
      size += (chunk as Uint8Array).byteLength
      if (size > MAX_BYTES) throw new Error('the range of breached passwords is too long')
      chunks.push(chunk as Uint8Array)
    }
    return Buffer.concat(chunks).toString()
  }
}
