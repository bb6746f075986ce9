/** Masking: a copy of a record without the fields that the principal may not read. */
import type { Engine } from './engine.ts'

/**
 * Leaves out every field that has a permission of its own which is refused, and every function.
 *
 * @param permission the permission for the whole record. Its resource type declares the fields.
 * @param allows decides a permission on this record.
 * @returns a copy. It is empty if the permission for the whole record is refused.
 */
export function maskRecord<T extends object>(
  engine: Engine,
  permission: string,
  record: T,
  allows: (permission: string) => boolean,
): Partial<T> {
  if (!allows(permission)) return {}
  const type = permission.split(':', 1)[0]!
  const { fields } = engine.model.policy
  const fieldPermissions = Object.hasOwn(fields, type) ? fields[type]! : {}
  // A method such as `toJSON` could reveal what the copy leaves out.
  const readable = Object.entries(record).filter(
    ([name, value]) =>
      typeof value !== 'function' &&
      (!Object.hasOwn(fieldPermissions, name) || allows(fieldPermissions[name]!)),
  )
  return Object.fromEntries(readable) as Partial<T>
}
