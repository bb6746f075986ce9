/** A value of any form, within limits. */
import { Type, type TUnsafe } from '@sinclair/typebox'
import { characterFault } from './text.ts'
import {
  checkSettings,
  commonOf,
  fault,
  GUARD,
  refuseType,
  type CommonOptions,
  type Fault,
} from './check.ts'

/** A JSON value. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue }

/** Options of {@link SafeJson}. */
export interface SafeJsonOptions extends CommonOptions {
  /** Objects and arrays within each other. @default 8 */
  readonly maxDepth?: number
  /** Keys and items of the whole value. @default 1000 */
  readonly maxValues?: number
  /** Characters of one string or key. @default 10 000 */
  readonly maxStringLength?: number
}

/** The keyword of {@link SafeJson}: it applies to values of every type. */
export const JSON_GUARD = `${GUARD}-json`

/** JSON without a schema of its own: settings, metadata. Prototype names and hidden characters are refused. */
export function SafeJson(options: SafeJsonOptions = {}): TUnsafe<JsonValue> {
  checkSettings('SafeJson', options, {
    maxDepth: 'number',
    maxValues: 'number',
    maxStringLength: 'number',
  })
  const { maxDepth = 8, maxValues = 1000, maxStringLength = 10_000 } = options
  const limits = { maxDepth, maxValues, maxStringLength }
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      refuseType('SafeJson', `"${name}" must be an integer of at least 1`)
    }
  }
  return Type.Unsafe<JsonValue>({ ...commonOf(options), [JSON_GUARD]: limits })
}

const TOO_DEEP = fault('json_depth', 'must not be nested so deeply')
const TOO_MANY = fault('json_values', 'must have fewer members and items')
const TOO_LONG = fault('json_string', 'must have shorter strings')
const NOT_FINITE = fault('json_number', 'must have numbers that a computer can store')
const PROTOTYPE = fault('prototype_key', 'must not have members named like those of the prototype')
const PROTOTYPE_NAMES = new Set(['__proto__', 'constructor', 'prototype'])

/** Compiles the check. It does not recurse, so that no depth overflows the stack. */
export function compileJson(
  limits: Required<Pick<SafeJsonOptions, 'maxDepth' | 'maxValues' | 'maxStringLength'>>,
) {
  const { maxDepth, maxValues, maxStringLength } = limits
  const textFault = (text: string) =>
    text.length > maxStringLength ? TOO_LONG : characterFault(text, true)
  return (root: unknown): Fault | undefined => {
    const rest: { readonly value: unknown; readonly depth: number }[] = [{ value: root, depth: 0 }]
    let values = 0
    for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
      const { value, depth } = next
      if (typeof value === 'string') {
        const found = textFault(value)
        if (found !== undefined) return found
      }
      // JSON.parse reads 1e309 as infinity.
      if (typeof value === 'number' && !Number.isFinite(value)) return NOT_FINITE
      if (typeof value !== 'object' || value === null) continue
      if (depth >= maxDepth) return TOO_DEEP
      const isArray = Array.isArray(value)
      for (const key of Object.keys(value)) {
        if (++values > maxValues) return TOO_MANY
        if (!isArray) {
          if (PROTOTYPE_NAMES.has(key)) return PROTOTYPE
          const found = textFault(key)
          if (found !== undefined) return found
        }
        rest.push({ value: (value as Record<string, unknown>)[key], depth: depth + 1 })
      }
    }
    return undefined
  }
}
