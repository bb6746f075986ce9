/** The readers of single options: each knows its unit and its range and says what it expects. */

/** Where a reader writes down what is wrong. */
export interface OptionFaults {
  add(path: string, problem: string): void
}

/** Reads one option. Make them with the functions of {@link option}. */
export interface OptionReader<T> {
  /** What `undefined` becomes; a reader without it requires the option. */
  readonly fallback?: { readonly value: T }
  /** The ending a quantity's name must have, for instance `Ms`. */
  readonly suffix?: string
  readonly read: (value: unknown, path: string, faults: OptionFaults) => T
}

/** The type an {@link OptionReader} yields. */
export type OptionValue<R> = R extends OptionReader<infer T> ? T : never

/** The settings that a table of readers yields. */
export type OptionSettings<S> = { readonly [K in keyof S]: OptionValue<S[K]> }

interface Bounds {
  readonly min?: number
  readonly max?: number
}

interface Fallback<T> {
  readonly default?: T
}

function reader<T>(
  settings: Fallback<T> & { readonly suffix?: string },
  read: OptionReader<T>['read'],
): OptionReader<T> {
  return {
    read,
    ...('default' in settings ? { fallback: { value: settings.default } } : undefined),
    ...(settings.suffix === undefined ? undefined : { suffix: settings.suffix }),
  }
}

function quantity(unit: string, suffix: string | undefined, least: number) {
  return ({
    min = least,
    max = Number.MAX_SAFE_INTEGER,
    ...rest
  }: Bounds & Fallback<number> = {}) =>
    reader<number>(
      { ...rest, ...(suffix === undefined ? undefined : { suffix }) },
      (value, path, faults) => {
        if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
          const range =
            max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
          faults.add(path, `must be a whole number ${range}${unit}; got ${show(value)}`)
        }
        return value as number
      },
    )
}

function show(value: unknown): string {
  if (typeof value === 'number') return String(value)
  if (value === undefined) return 'nothing'
  // A text may be a secret that was put in the wrong place: its kind is enough.
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The readers, by kind. `default` makes an option optional; without it, it must be given. */
export const option = Object.freeze({
  /** A duration; its name must end in `Ms`. At least 1 unless `min` says otherwise. */
  milliseconds: quantity(', in milliseconds', 'Ms', 1),
  /** A duration; its name must end in `Seconds`. At least 1 unless `min` says otherwise. */
  seconds: quantity(', in seconds', 'Seconds', 1),
  /** A size; its name must end in `Bytes`. At least 1 unless `min` says otherwise. */
  bytes: quantity(', in bytes', 'Bytes', 1),
  /** A count. At least 0 unless `min` says otherwise. */
  integer: quantity('', undefined, 0),
  /** A share from 0 to 1; its name must end in `Ratio`. */
  ratio: ({ min = 0, max = 1, ...rest }: Bounds & Fallback<number> = {}) =>
    reader<number>({ ...rest, suffix: 'Ratio' }, (value, path, faults) => {
      if (typeof value !== 'number' || !(value >= min && value <= max)) {
        faults.add(path, `must be a number from ${min} to ${max}; got ${show(value)}`)
      }
      return value as number
    }),
  boolean: (settings: Fallback<boolean> = {}) =>
    reader<boolean>(settings, (value, path, faults) => {
      if (typeof value !== 'boolean') faults.add(path, `must be true or false; got ${show(value)}`)
      return value as boolean
    }),
  /** A text of `min` (1) to `max` (1024) characters that matches `pattern`; the value is never shown. */
  text: ({
    min = 1,
    max = 1024,
    pattern,
    ...rest
  }: Bounds & Fallback<string> & { readonly pattern?: RegExp } = {}) =>
    reader<string>(rest, (value, path, faults) => {
      if (typeof value !== 'string') faults.add(path, `must be a string; got ${show(value)}`)
      else if (value.length < min || value.length > max) {
        faults.add(path, `must have ${min} to ${max} characters; it has ${value.length}`)
      } else if (pattern?.test(value) === false) {
        faults.add(path, `must match ${String(pattern)}`)
      }
      return value as string
    }),
  /** One of a few values. */
  oneOf: <const T extends string | number>(values: readonly T[], settings: Fallback<T> = {}) =>
    reader<T>(settings, (value, path, faults) => {
      if (!values.includes(value as T)) {
        faults.add(path, `must be one of ${values.map((v) => JSON.stringify(v)).join(', ')}`)
      }
      return value as T
    }),
  /** An array of `min` (0) to `max` (10 000) items; the result is a frozen copy. */
  list: <T>(
    item: OptionReader<T>,
    { min = 0, max = 10_000, ...rest }: Bounds & Fallback<readonly T[]> = {},
  ) =>
    reader<readonly T[]>(rest, (value, path, faults) => {
      if (!Array.isArray(value) || value.length < min || value.length > max) {
        faults.add(path, `must be an array of ${min} to ${max} items; got ${show(value)}`)
        return []
      }
      return Object.freeze(
        value.map((entry: unknown, index) => item.read(entry, `${path}[${index}]`, faults)),
      )
    }),
  /** An object with names of the caller's choice; the result is a frozen copy without a prototype. */
  map: <T>(item: OptionReader<T>, settings: Fallback<Readonly<Record<string, T>>> = {}) =>
    reader<Readonly<Record<string, T>>>(settings, (value, path, faults) => {
      const copy = Object.create(null) as Record<string, T>
      if (!isRecord(value)) faults.add(path, `must be an object; got ${show(value)}`)
      else {
        for (const [key, entry] of Object.entries(value)) {
          copy[key] = item.read(entry, `${path}.${key}`, faults)
        }
      }
      return Object.freeze(copy)
    }),
  /** A function, for instance a callback. */
  callback: <T extends (...args: never[]) => unknown>(settings: Fallback<T> = {}) =>
    reader<T>(settings, (value, path, faults) => {
      if (typeof value !== 'function') faults.add(path, `must be a function; got ${show(value)}`)
      return value as T
    }),
  /** A port: an object, or an instance of a class, that has these methods. It is passed on as it is. */
  port: <T extends object>(methods: readonly (keyof T & string)[], settings: Fallback<T> = {}) =>
    reader<T>(settings, (value, path, faults) => {
      const found = (typeof value === 'object' || typeof value === 'function') && value !== null
      const missing = methods.filter((m) => !found || typeof (value as T)[m] !== 'function')
      if (missing.length > 0) {
        faults.add(
          path,
          `must have the method${missing.length > 1 ? 's' : ''} ${missing.join(', ')}`,
        )
      }
      return value as T
    }),
  /** Anything `check` approves; it returns what is wrong, or `undefined`. */
  custom: <T>(check: (value: unknown) => string | undefined, settings: Fallback<T> = {}) =>
    reader<T>(settings, (value, path, faults) => {
      const problem = check(value)
      if (problem !== undefined) faults.add(path, problem)
      return value as T
    }),
  /** A dangerous choice, under an exported `unique symbol`: absent, or `true` and nothing else. */
  danger: () =>
    reader<boolean>({ default: false }, (value, path, faults) => {
      if (value !== true) faults.add(path, 'is taken by writing `true`, or left out')
      return true
    }),
  /** Either the option as `item` reads it, or `undefined` when it is left out. */
  optional: <T>(item: OptionReader<T>): OptionReader<T | undefined> => ({
    ...item,
    fallback: { value: undefined },
  }),
})
