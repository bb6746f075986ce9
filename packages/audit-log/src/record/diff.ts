/** The difference between two states of a resource. */
import { canonicalize, toJson } from './canonical-json.ts'
import { HashedValue, PersonalValue } from './marks.ts'

/** One changed member. */
export interface Change {
  /** The path of the member, a JSON Pointer. @see RFC 6901 */
  readonly path: string
  /** The old value; absent if the member was added. */
  readonly from?: unknown
  /** The new value; absent if the member was removed. */
  readonly to?: unknown
}

const MAX_DEPTH = 32

/**
 * Lists the changed members in the order of their names. An array is compared as a whole. Values marked
 * with `pii` or `hmac` are compared by value and keep their marks.
 */
export function diff(before: unknown, after: unknown): Change[] {
  const changes: Change[] = []
  compare(before, after, '', 0, changes)
  return changes
}

function compare(from: unknown, to: unknown, path: string, depth: number, into: Change[]): void {
  if (from === to) return
  if (depth < MAX_DEPTH && isRecord(from) && isRecord(to)) {
    const names = new Set([...Object.keys(from), ...Object.keys(to)])
    for (const name of [...names].toSorted()) {
      const inner = `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
      compare(own(from, name), own(to, name), inner, depth + 1, into)
    }
    return
  }
  if (textOf(from) === textOf(to)) return
  into.push({
    path,
    ...(from === undefined ? undefined : { from }),
    ...(to === undefined ? undefined : { to }),
  })
}

function own(value: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function textOf(value: unknown): string {
  if (value === undefined) return ''
  const marked = value instanceof PersonalValue || value instanceof HashedValue
  return canonicalize(toJson(marked ? value.value : value))
}
