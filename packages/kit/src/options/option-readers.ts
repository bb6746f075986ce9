/** Readers of single options: each checks a type, a unit and a range, and says what it expected. */

/** Collects what is wrong with the options. */
export interface OptionFaults {
  /** @param problem continues a sentence that begins with the path: `must be a string, got 5`. */
  add(path: string, problem: string): void
  /** What to write instead of an unknown name, if its table of hints lists it. */
  hintFor?(path: string): string | undefined
}

/** Reads one option. The functions of {@link option} make readers. */
export interface OptionReader<T> {
  /** The value where the option is left out; without a fallback the option is required. */
  readonly fallback?: { readonly value: T }
  /** The unit that the option's name must end in, for instance `Ms`. */
  readonly suffix?: string
  readonly read: (value: unknown, path: string, faults: OptionFaults) => T
}

/** The type that an {@link OptionReader} returns. */
export type OptionValue<R> = R extends OptionReader<infer T> ? T : never

/** The settings that a table of readers returns. */
export type OptionSettings<S> = { readonly [K in keyof S]: OptionValue<S[K]> }

interface Bounds {
  readonly min?: number
  readonly max?: number
}

interface Fallback<T> {
  readonly default?: T
}

interface TextSettings extends Bounds, Fallback<string> {
  readonly pattern?: RegExp
  /** Words for what `pattern` accepts, to continue `must be …`: `a host name such as "example.org"`. */
  readonly form?: string
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

/** @param unit in words; `''` for a plain count. */
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
          const inUnit = unit === '' ? '' : ` (${unit})`
          faults.add(path, `must be an integer ${range}${inUnit}, got ${show(value)}`)
        }
        return value as number
      },
    )
}

/** A string may be a secret in the wrong place, so only a short quantity such as `5m` is shown. */
function show(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (value === undefined) return 'nothing'
  if (typeof value === 'string' && /^[\d.]{1,8} ?[a-z]{0,8}$/i.test(value)) return `"${value}"`
  if (value === null) return 'null'
  return Array.isArray(value)
    ? 'an array'
    : typeof value === 'object'
      ? 'an object'
      : `a ${typeof value}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Readers by kind. `default` makes an option optional; without `default` it is required. */
export const option = Object.freeze({
  /** A duration; its name must end in `Ms`. At least 1 unless `min` says otherwise. */
  milliseconds: quantity('milliseconds', 'Ms', 1),
  /** A duration; its name must end in `Seconds`. At least 1 unless `min` says otherwise. */
  seconds: quantity('seconds', 'Seconds', 1),
  /** A size; its name must end in `Bytes`. At least 1 unless `min` says otherwise. */
  bytes: quantity('bytes', 'Bytes', 1),
  /** A count. At least 0 unless `min` says otherwise. */
  integer: quantity('', undefined, 0),
  /** A share from 0 to 1; its name must end in `Ratio`. */
  ratio: ({ min = 0, max = 1, ...rest }: Bounds & Fallback<number> = {}) =>
    reader<number>({ ...rest, suffix: 'Ratio' }, (value, path, faults) => {
      if (typeof value !== 'number' || !(value >= min && value <= max)) {
        faults.add(path, `must be a number from ${min} to ${max}, got ${show(value)}`)
      }
      return value as number
    }),
  boolean: (settings: Fallback<boolean> = {}) =>
    reader<boolean>(settings, (value, path, faults) => {
      if (typeof value !== 'boolean') faults.add(path, `must be true or false, got ${show(value)}`)
      return value as boolean
    }),
  /** A string of `min` (1) to `max` (1024) characters that matches `pattern`; errors never show it. */
  text: ({ min = 1, max = 1024, pattern, form, ...rest }: TextSettings = {}) =>
    reader<string>(rest, (value, path, faults) => {
      if (typeof value !== 'string') faults.add(path, `must be a string, got ${show(value)}`)
      else if (value.length < min || value.length > max) {
        faults.add(path, `must have ${min} to ${max} characters, got ${value.length}`)
      } else if (pattern?.test(value) === false) {
        faults.add(path, form === undefined ? 'has an invalid form' : `must be ${form}`)
      }
      return value as string
    }),
  /** One of a few values. */
  oneOf: <const T extends string | number>(values: readonly T[], settings: Fallback<T> = {}) =>
    reader<T>(settings, (value, path, faults) => {
      if (!values.includes(value as T)) {
        const known = values.map((each) => JSON.stringify(each)).join(', ')
        faults.add(path, `must be one of ${known}, got ${show(value)}`)
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
        faults.add(path, `must be an array of ${min} to ${max} items, got ${show(value)}`)
        return []
      }
      return Object.freeze(
        value.map((entry: unknown, index) => item.read(entry, `${path}[${index}]`, faults)),
      )
    }),
  /** An object whose member names are free; the result is a frozen copy without a prototype. */
  map: <T>(item: OptionReader<T>, settings: Fallback<Readonly<Record<string, T>>> = {}) =>
    reader<Readonly<Record<string, T>>>(settings, (value, path, faults) => {
      const copy = Object.create(null) as Record<string, T>
      if (!isRecord(value)) faults.add(path, `must be an object, got ${show(value)}`)
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
      if (typeof value !== 'function') faults.add(path, `must be a function, got ${show(value)}`)
      return value as T
    }),
  /** A port: an object or a class instance with these methods. It is passed on unchanged. */
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
  /** Whatever `check` accepts; it returns the problem (`must be …`), or `undefined`. */
  custom: <T>(check: (value: unknown) => string | undefined, settings: Fallback<T> = {}) =>
    reader<T>(settings, (value, path, faults) => {
      const problem = check(value)
      if (problem !== undefined) faults.add(path, problem)
      return value as T
    }),
  /** A dangerous choice under an exported `unique symbol`: left out, or exactly `true`. */
  danger: () =>
    reader<boolean>({ default: false }, (value, path, faults) => {
      if (value !== true) faults.add(path, 'must be `true`, or be left out')
      return true
    }),
  /** The option as `item` reads it, or `undefined` where it is left out. */
  optional: <T>(item: OptionReader<T>): OptionReader<T | undefined> => ({
    ...item,
    fallback: { value: undefined },
  }),
})
