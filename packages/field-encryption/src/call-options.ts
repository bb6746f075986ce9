/** Reads the options of a call: a misspelled one throws, so that it is not taken for an absent one. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from './errors.ts'

/** Whether a value is valid, and what is expected. */
export interface CallOption {
  readonly expected: string
  readonly accepts: (value: unknown) => boolean
}

/** The options of a call, by name. */
export type CallOptions<T> = Readonly<Record<keyof T, CallOption>>

function kind(expected: string, accepts: (value: unknown) => boolean): CallOption {
  return { expected, accepts }
}

/** PostgreSQL stores no NUL in a text. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value.isWellFormed() && !value.includes('\0')
}

/** The kinds of options. */
export const callOption = {
  /** A tenant; `''` is one. */
  name: kind('a string without NUL', isName),
  text: kind('a non-empty string without NUL', (value) => value !== '' && isName(value)),
  boolean: kind('true or false', (value) => typeof value === 'boolean'),
  texts: kind('a list of strings', isTexts),
  /** `null` is an anonymous caller. */
  roles: kind('a list of strings, or null', (value) => value === null || isTexts(value)),
  integer: (min: number, max: number) =>
    kind(
      `an integer from ${min} to ${max}`,
      (value) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max,
    ),
  oneOf: (...values: readonly unknown[]) =>
    kind(values.map((value) => JSON.stringify(value)).join(' or '), (value) =>
      values.includes(value),
    ),
  object: kind('an object', (value) => typeof value === 'object' && value !== null),
  any: kind('a value', () => true),
} as const

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}

/**
 * Checks the options of a call. A member that is `undefined` counts as absent.
 *
 * @param call for the message: `encryptRecord`.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT an option is unknown or invalid.
 */
export function checkCall<T extends object>(
  call: string,
  options: T,
  table: CallOptions<Required<T>>,
): void {
  if (typeof options !== 'object' || options === null) {
    refuse(`the options of ${call}`, 'must be an object')
  }
  const known = table as Readonly<Record<string, CallOption>>
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name)) {
      const names = Object.keys(known).join(', ')
      refuse(`the option "${name}" of ${call}`, `is unknown; use ${names}`)
    }
    const { accepts, expected } = known[name]!
    if (value !== undefined && !accepts(value)) {
      // The value is not quoted: it may be a secret.
      refuse(`the option "${name}" of ${call}`, `must be ${expected}, got ${describe(value)}`)
    }
  }
}

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (value === '') return 'an empty string'
  return typeof value === 'object' ? (value.constructor?.name ?? 'an object') : typeof value
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(what, problem)
}
