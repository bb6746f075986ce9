/** The members of a record that a caller may pass, and how their values become texts. */
import { PARAPET_AUDIT_LOG_INVALID_RECORD } from '../errors.ts'
import type { AuditFields, Markable } from './fields.ts'
import { HashedValue, PersonalValue } from './marks.ts'

/** The texts that may be marked, and to which the option `fields` applies. */
export const MARKABLE = [
  'principal',
  'actor',
  'session',
  'tenant',
  'ip',
  'userAgent',
  'resourceId',
] as const

/** Whether the name is in {@link MARKABLE}. */
export function isMarkable(name: string): name is (typeof MARKABLE)[number] {
  return (MARKABLE as readonly string[]).includes(name)
}

const PLAIN = ['resource', 'errorCode', 'requestId', 'route', 'severity'] as const
const MEMBERS = [
  ...MARKABLE,
  ...PLAIN,
  'changes',
  'result',
  'data',
] as const satisfies readonly (keyof AuditFields)[]
const KNOWN: ReadonlySet<string> = new Set(MEMBERS)
const SEVERITIES: ReadonlySet<unknown> = new Set([
  undefined,
  'info',
  'low',
  'medium',
  'high',
  'critical',
])

/**
 * A misspelt member would be lost, and the record could not be corrected later.
 *
 * @throws PARAPET_AUDIT_LOG_INVALID_RECORD
 */
export function requireKnownMembers(fields: unknown): asserts fields is AuditFields {
  if (typeof fields !== 'object' || fields === null) {
    refuse(`the fields must be an object, got ${nameOf(fields)}`)
  }
  for (const name of Object.keys(fields)) {
    if (KNOWN.has(name)) continue
    refuse(`the member "${name.slice(0, 80)}" is unknown; known are ${MEMBERS.join(', ')}`)
  }
}

/**
 * Reads a text, a number, or a marked value. `null` and `undefined` mean that the member is not given;
 * of a principal, an object with an `id` is accepted as well.
 *
 * @throws PARAPET_AUDIT_LOG_INVALID_RECORD any other text would be misleading, for example
 *   `[object Object]`.
 */
export function readText(name: (typeof MARKABLE)[number], value: unknown): Markable | undefined {
  if (value instanceof PersonalValue || value instanceof HashedValue) return value
  if (name === 'principal' && typeof value === 'object' && value !== null && 'id' in value) {
    return readPlain(name, value.id)
  }
  return readPlain(name, value)
}

/** Like {@link readText}, for members that cannot be marked. @throws PARAPET_AUDIT_LOG_INVALID_RECORD */
export function readPlain(name: keyof AuditFields, value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return undefined
  if (typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value))) {
    return String(value)
  }
  return refuse(`"${name}" must be a text or a number, got ${nameOf(value)}`)
}

/** @throws PARAPET_AUDIT_LOG_INVALID_RECORD */
export function readSeverity(value: unknown): string | undefined {
  const severity = readPlain('severity', value)
  if (SEVERITIES.has(severity)) return severity
  return refuse('"severity" must be info, low, medium, high or critical')
}

function nameOf(value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  if (value === null) return 'null'
  if (value instanceof PersonalValue || value instanceof HashedValue) return 'a marked value'
  return typeof value === 'number' ? String(value) : `a value of type ${typeof value}`
}

function refuse(problem: string): never {
  throw new PARAPET_AUDIT_LOG_INVALID_RECORD(problem)
}
