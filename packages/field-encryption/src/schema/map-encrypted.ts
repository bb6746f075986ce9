/** Visits the encrypted values of a row or of a response payload, and copies what contains them. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_VALUE } from '../errors.ts'
import type { SchemaNode } from './compile-schema.ts'
import type { EncryptedField } from './encrypted.ts'

/** A visitor returns it to leave a value out. */
export const OMIT: unique symbol = Symbol('omit')

/** Called with one encrypted value. @param path `phones.0.number` */
export type ValueVisitor = (
  field: EncryptedField,
  value: unknown,
  path: string,
  isRequired: boolean,
) => unknown

/**
 * Returns a copy of `value` in which the visitor's result replaces each encrypted value. `null` and
 * `undefined` are kept: that a value is absent is no secret.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_VALUE the value has no object or array where the schema has one.
 */
export function mapEncrypted(
  node: SchemaNode,
  given: unknown,
  path: string,
  visit: ValueVisitor,
): unknown {
  const value = node.kind === 'leaf' ? given : applyToJson(given)
  if (value === null || value === undefined) return value
  if (node.kind === 'leaf') return visit(node.field, value, path, node.required)
  if (node.kind === 'array') {
    if (!Array.isArray(value)) throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(path, 'an array')
    return value
      .map((item: unknown, index) =>
        mapEncrypted(node.items, item, join(path, String(index)), visit),
      )
      .filter((item) => item !== OMIT)
  }
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(path, 'an object')
  }
  const copy = copyMembers(value, node.names)
  for (const [name, member] of node.members) {
    if (!Object.hasOwn(copy, name)) continue
    const mapped = mapEncrypted(member, copy[name], join(path, name), visit)
    if (mapped === OMIT) delete copy[name]
    else copy[name] = mapped
  }
  return copy
}

/** A copy that kept `toJSON` would be serialized as the original, unmasked object. */
function applyToJson(value: unknown): unknown {
  const toJSON = (value as { readonly toJSON?: unknown } | null | undefined)?.toJSON
  return typeof toJSON === 'function' ? toJSON.call(value) : value
}

/** Copies own members, and the declared ones that a class has as getters: a serializer reads both. */
function copyMembers(value: object, names: ReadonlySet<string>): Record<string, unknown> {
  const copy = { ...value } as Record<string, unknown>
  if (typeof copy['toJSON'] === 'function') delete copy['toJSON']
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return copy
  for (const name of names) {
    if (!Object.hasOwn(copy, name) && name in value && !(name in Object.prototype)) {
      copy[name] = (value as Record<string, unknown>)[name]
    }
  }
  return copy
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`
}
