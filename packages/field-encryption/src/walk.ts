/** Walks the encrypted values of a row or of a reply; what is not on their way stays as it is. */
import type { EncryptedField } from './encrypted.ts'
import { PARAPET_FIELD_ENCRYPTION_INVALID_VALUE } from './errors.ts'
import type { SchemaNode } from './schema.ts'

/** What a visitor returns to leave a member out. */
export const OMIT: unique symbol = Symbol('omit')

/** One encrypted value: its field, itself, and its path, `phones.0.number`. */
export type LeafVisitor = (
  field: EncryptedField,
  value: unknown,
  path: string,
  required: boolean,
) => unknown

/**
 * A copy of `value` with each leaf replaced by what the visitor returns. `null` and `undefined` stay:
 * that there is no value is no secret.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_VALUE there is no object or array where the schema has one.
 */
export function mapLeaves(
  node: SchemaNode,
  given: unknown,
  path: string,
  visit: LeafVisitor,
): unknown {
  const value = node.kind === 'leaf' ? given : asPlain(given)
  if (value === null || value === undefined) return value
  if (node.kind === 'leaf') return visit(node.field, value, path, node.required)
  if (node.kind === 'array') {
    if (!Array.isArray(value)) throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(path, 'an array')
    return value
      .map((item: unknown, index) => mapLeaves(node.items, item, join(path, String(index)), visit))
      .filter((item) => item !== OMIT)
  }
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(path, 'an object')
  }
  const copy: Record<string, unknown> = { ...value }
  for (const [name, member] of node.members) {
    if (!Object.hasOwn(copy, name)) continue
    const mapped = mapLeaves(member, copy[name], join(path, name), visit)
    if (mapped === OMIT) delete copy[name]
    else copy[name] = mapped
  }
  return copy
}

/** What a serialiser would make of it: a copy that kept its own `toJSON` would be sent as the original. */
function asPlain(value: unknown): unknown {
  const toJSON = (value as { readonly toJSON?: unknown } | null | undefined)?.toJSON
  return typeof toJSON === 'function' ? toJSON.call(value) : value
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}
