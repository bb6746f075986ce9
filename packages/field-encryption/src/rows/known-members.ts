/** Refuses members that a schema does not declare: a misspelled name would be stored as plaintext. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'

/**
 * Checks the objects that contain encrypted values.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
 */
export function requireKnownMembers(node: SchemaNode, value: unknown, path: string): void {
  if (node.kind === 'leaf' || typeof value !== 'object' || value === null) return
  if (node.kind === 'array') {
    if (!Array.isArray(value)) return
    for (const [index, item] of value.entries()) {
      requireKnownMembers(node.items, item, `${path}.${index}`)
    }
    return
  }
  if (Array.isArray(value)) return
  for (const [name, member] of Object.entries(value)) {
    const at = path === '' ? name : `${path}.${name}`
    if (!node.names.has(name) && !node.isOpen) {
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
        `the member "${at}"`,
        'is not in the schema',
      )
    }
    const part = node.members.get(name)
    if (part !== undefined) requireKnownMembers(part, member, at)
  }
}
