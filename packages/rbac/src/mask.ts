/** Masking: a copy of a record without the fields that the subject may not see. */
import type { Engine } from './engine.ts'

/**
 * Leaves out every field that has a permission of its own which `allows` refuses.
 *
 * @param permission what the record as a whole was asked for; its resource type has the fields.
 * @param allows decides a permission on this record.
 * @returns a copy; a subject who may not see the record at all gets none of its fields.
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
  const guarded = Object.hasOwn(fields, type) ? fields[type]! : {}
  const seen = Object.entries(record).filter(
    ([name]) => !Object.hasOwn(guarded, name) || allows(guarded[name]!),
  )
  return Object.fromEntries(seen) as Partial<T>
}
