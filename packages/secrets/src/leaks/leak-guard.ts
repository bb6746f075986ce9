/** Knows the values of all loaded secrets, and finds them in what leaves the service. */
import type { Secret } from '../value/secret.ts'
import { numberAround } from './json-number.ts'
import { compileSearch, type SecretSearch } from './secret-search.ts'
import { spellingsOf } from './spellings.ts'

const SHOWN = '[secret]'

/** A value to look for. */
interface GuardedValue {
  readonly name: string
  readonly value: Secret
}

/** Finds loaded secrets in texts: plain, escaped in JSON, base64, hex and URL-encoded. */
export interface LeakGuard {
  /** The name of a secret that the text contains. */
  find(text: string | Uint8Array): string | undefined
  /** Replaces loaded secrets by `[secret]`; in a JSON object, a number with a secret by `"[secret]"`. */
  redact(text: string): string
}

/** The guard, and how it learns values. */
export interface TeachableLeakGuard extends LeakGuard {
  /** Replaces the values that are looked for. */
  learn(values: readonly GuardedValue[]): void
}

/** Makes a guard that knows nothing yet. */
export function createLeakGuard(onFound: (name: string) => void): TeachableLeakGuard {
  let search: SecretSearch = compileSearch([])
  return {
    learn(values) {
      search = compileSearch(
        values.flatMap(({ name, value }) => value.use(spellingsOf).map((text) => ({ name, text }))),
      )
    },
    find(text) {
      const read = typeof text === 'string' ? text : Buffer.from(text).toString('latin1')
      return search.find(read)?.name
    },
    redact(text) {
      const found = search.find(text)
      if (found === undefined) return text
      onFound(found.name)
      return search.replace(text, ({ start, end }) => {
        const number = numberAround(text, start, end)
        if (number === undefined) return { start, end, text: SHOWN }
        return { start: number[0], end: number[1], text: `"${SHOWN}"` }
      })
    },
  }
}
