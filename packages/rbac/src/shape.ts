/** Small readers of unknown data that collect what is wrong instead of stopping at the first fault. */

const MAX_NAME_LENGTH = 128
const MAX_LIST_LENGTH = 10_000

/** Reads shapes; what it returns is only as good as the list of faults is empty. */
export class ShapeReader {
  readonly #faults: string[]

  /** @param faults is given one line for each fault. */
  constructor(faults: string[]) {
    this.#faults = faults
  }

  fault(path: string, problem: string): void {
    this.#faults.push(`  ${path}: ${problem}`)
  }

  /** An object with no keys but these. */
  record(value: unknown, path: string, keys: readonly string[]): Readonly<Record<string, unknown>> {
    if (!isRecord(value)) {
      this.fault(path, 'must be an object')
      return {}
    }
    for (const key of Object.keys(value)) {
      if (!keys.includes(key)) {
        this.fault(`${path}.${key}`, `is unknown; known are ${keys.join(', ')}`)
      }
    }
    return value
  }

  /** An object with names that match; left out is empty. */
  map<T>(
    value: unknown,
    path: string,
    pattern: RegExp,
    read: (entry: unknown, path: string) => T,
  ): Readonly<Record<string, T>> {
    if (value !== undefined && !isRecord(value)) this.fault(path, 'must be an object')
    const entries = Object.entries(isRecord(value) ? value : {}).map(([name, entry]) => {
      this.text(name, path, pattern)
      return [name, read(entry, `${path}.${name}`)] as const
    })
    return Object.freeze(Object.fromEntries(entries))
  }

  /** Left out is empty. */
  list<T>(
    value: unknown,
    path: string,
    read: (entry: unknown, path: string) => T,
    max = MAX_LIST_LENGTH,
  ): readonly T[] {
    const list: unknown = value ?? []
    if (!Array.isArray(list) || list.length > max) {
      this.fault(path, `must be an array of at most ${max} entries`)
      return []
    }
    return Object.freeze(list.map((entry: unknown, index) => read(entry, `${path}[${index}]`)))
  }

  /** A list of different names that match; left out is empty. */
  names(value: unknown, path: string, pattern: RegExp, max: number): readonly string[] {
    const names = this.list(value, path, (entry) => this.text(entry, path, pattern), max)
    if (new Set(names).size < names.length) {
      const twice = names.find((name, index) => names.indexOf(name) !== index)
      this.fault(path, `names "${twice}" twice`)
    }
    return names
  }

  text(value: unknown, path: string, pattern: RegExp): string {
    const fits =
      typeof value === 'string' &&
      value.length <= MAX_NAME_LENGTH &&
      value !== '__proto__' &&
      value.isWellFormed() &&
      pattern.test(value)
    if (fits) return value
    this.fault(path, `cannot be the name ${JSON.stringify(value)}`)
    return ''
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
