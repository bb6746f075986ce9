/** Readers for untrusted data. They collect every fault instead of stopping at the first. */

const MAX_NAME_LENGTH = 128
const MAX_LIST_LENGTH = 10_000

/** Reads untrusted data. Use what it returns only if the list of faults is empty. */
export class ShapeReader {
  readonly #faults: string[]

  /** @param faults receives one line for each fault. */
  constructor(faults: string[]) {
    this.#faults = faults
  }

  fault(path: string, problem: string): void {
    this.#faults.push(`  ${path}: ${problem}`)
  }

  /** Reads an object that may have these keys only. */
  record(value: unknown, path: string, keys: readonly string[]): Readonly<Record<string, unknown>> {
    if (!isRecord(value)) {
      this.fault(path, `must be an object, got ${describe(value)}`)
      return {}
    }
    for (const key of Object.keys(value)) {
      if (!keys.includes(key)) {
        this.fault(`${path}.${key}`, `is an unknown key; known keys: ${keys.join(', ')}`)
      }
    }
    return value
  }

  /** Reads an object whose keys match a pattern. `undefined` becomes an empty object. */
  map<T>(
    value: unknown,
    path: string,
    pattern: RegExp,
    read: (entry: unknown, path: string) => T,
  ): Readonly<Record<string, T>> {
    if (value !== undefined && !isRecord(value)) {
      this.fault(path, `must be an object, got ${describe(value)}`)
    }
    const entries = Object.entries(isRecord(value) ? value : {}).map(([name, entry]) => {
      this.text(name, path, pattern)
      return [name, read(entry, `${path}.${name}`)] as const
    })
    return Object.freeze(Object.fromEntries(entries))
  }

  /** Reads an array. `undefined` becomes an empty one. */
  list<T>(
    value: unknown,
    path: string,
    read: (entry: unknown, path: string) => T,
    max = MAX_LIST_LENGTH,
  ): readonly T[] {
    const list: unknown = value ?? []
    if (!Array.isArray(list) || list.length > max) {
      const got = Array.isArray(list) ? `${list.length} entries` : describe(list)
      this.fault(path, `must be an array of at most ${max} entries, got ${got}`)
      return []
    }
    return Object.freeze(list.map((entry: unknown, index) => read(entry, `${path}[${index}]`)))
  }

  /** Reads an array of distinct names that match a pattern. `undefined` becomes an empty one. */
  names(value: unknown, path: string, pattern: RegExp, max: number): readonly string[] {
    const names = this.list(value, path, (entry) => this.text(entry, path, pattern), max)
    if (new Set(names).size < names.length) {
      const twice = names.find((name, index) => names.indexOf(name) !== index)
      this.fault(path, `lists "${twice}" twice`)
    }
    return names
  }

  /** Reads a name that matches a pattern. */
  text(value: unknown, path: string, pattern: RegExp): string {
    const isValid =
      typeof value === 'string' &&
      value.length <= MAX_NAME_LENGTH &&
      value !== '__proto__' &&
      value.isWellFormed() &&
      pattern.test(value)
    if (isValid) return value
    const limits = `1 to ${MAX_NAME_LENGTH} characters that match ${String(pattern)}`
    this.fault(path, `must be ${limits}, got ${describe(value)}`)
    return ''
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, MAX_NAME_LENGTH))
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
