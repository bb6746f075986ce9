/** What every type has in common: faults, checks, and the schema that names a check. */
import { Type, type StringOptions, type TString } from '@sinclair/typebox'
import { PARAPET_INPUT_GUARD_INVALID_TYPE } from '../errors.ts'
import type { LibraryShelf } from '../libraries.ts'

/** What is wrong with a value. The message never contains the value. */
export interface Fault {
  /** Stable, for programs: `email_disposable`. */
  readonly code: string
  /** Continues a sentence that begins with the field: `must be an e-mail address`. */
  readonly message: string
}

/** Receives what a check finds beside faults. */
export interface Report {
  /** The value was changed because it was unsafe. */
  sanitized(): void
  /** Decides later; the request waits for it. */
  later(check: () => Promise<Fault | undefined>): void
}

/** Checks one text that is at most twice as long as its `maxLength`. @returns the text to use instead */
export type TextCheck = (text: string, report: Report) => string | Fault

/** Replaces the default engine of `SafeHtml`. */
export interface HtmlEngine {
  /** @returns the HTML without everything that `allowed` does not list, and whether anything was unsafe. */
  sanitize(
    html: string,
    allowed: AllowedHtml,
  ): { readonly html: string; readonly isChanged: boolean }
}

/** The HTML that a field may contain. */
export interface AllowedHtml {
  readonly tags: readonly string[]
  /** Attributes by tag; `*`: of every tag. */
  readonly attributes: Readonly<Record<string, readonly string[]>>
  /** Schemes of links and images, without a colon. */
  readonly schemes: readonly string[]
}

/** What checks need from outside. */
export interface CheckTools {
  readonly libraries: LibraryShelf
  readonly now: () => number
  readonly htmlEngine: HtmlEngine | undefined
  /** Whether a mail domain can receive mail; rejects if that cannot be found out. */
  readonly mailDomain: ((domain: string) => Promise<boolean>) | undefined
}

/** The keyword of the schemas. `x-` makes it an extension in every version of OpenAPI. */
export const GUARD = 'x-guard'

/** Options that every builder accepts besides its own. */
export interface CommonOptions {
  readonly description?: string
  readonly title?: string
  readonly examples?: string[]
  readonly readOnly?: boolean
  readonly writeOnly?: boolean
}

/** Makes the schema of a text with a check. */
export function guardedString(
  settings: Readonly<Record<string, unknown>> & { readonly type: string },
  options: StringOptions & { readonly maxLength: number },
): TString {
  if (!Number.isSafeInteger(options.maxLength) || options.maxLength < 1) {
    refuseType(settings.type, '"maxLength" must be an integer of at least 1')
  }
  return Type.String({ ...withoutUndefined(options), [GUARD]: withoutUndefined(settings) })
}

/** Splits the options of a builder into its own and those of JSON Schema. */
export function commonOf(options: CommonOptions): CommonOptions {
  const { description, title, examples, readOnly, writeOnly } = options
  return withoutUndefined({ description, title, examples, readOnly, writeOnly }) as CommonOptions
}

/** What each setting of a builder may be: a list of values, or the name of a JavaScript type. */
export type SettingTable = Readonly<
  Record<string, readonly unknown[] | 'boolean' | 'object' | 'string' | 'number'>
>

const COMMON: SettingTable = {
  description: 'string',
  title: 'string',
  examples: 'object',
  readOnly: 'boolean',
  writeOnly: 'boolean',
}

/**
 * Refuses settings that a builder would ignore or that would fail at the first request.
 *
 * @throws PARAPET_INPUT_GUARD_INVALID_TYPE a setting is unknown or of another kind.
 */
export function checkSettings(type: string, options: object, table: SettingTable): void {
  const all: SettingTable = { ...COMMON, ...table }
  for (const [name, value] of Object.entries(options)) {
    const allowed = Object.hasOwn(all, name) ? all[name]! : refuseType(type, `"${name}" is unknown`)
    if (value === undefined) continue
    if (typeof allowed !== 'string') {
      if (!allowed.includes(value))
        refuseType(type, `"${name}" must be one of ${allowed.join(', ')}`)
    } else if (typeof value !== allowed)
      refuseType(type, `"${name}" must be of the type ${allowed}`)
  }
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY } = options as Record<string, number>
  if (!Number.isSafeInteger(minLength) || minLength < 0 || minLength > maxLength) {
    refuseType(type, '"minLength" must be an integer from 0 to "maxLength"')
  }
}

/** A member that is `undefined` would be no JSON. */
export function withoutUndefined<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T
}

export function fault(code: string, message: string): Fault {
  return Object.freeze({ code, message })
}

/** @throws PARAPET_INPUT_GUARD_INVALID_TYPE */
export function refuseType(type: string, problem: string): never {
  throw new PARAPET_INPUT_GUARD_INVALID_TYPE(type, problem)
}
