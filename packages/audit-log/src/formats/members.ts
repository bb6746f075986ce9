/** What the formats share. */
import { isIP } from 'node:net'
import type { OcsfClass } from '../record/actions.ts'
import type { AuditRecord, LeafText } from '../record/leaf.ts'

/** An entry of the log to be mapped. */
export interface MappedEntry {
  readonly index: number
  readonly record: AuditRecord
  /** The OCSF class of the action's definition. */
  readonly ocsf?: OcsfClass
}

/** Severities as OCSF and ECS number them. */
export const SEVERITIES: Readonly<Record<string, number>> = {
  info: 1,
  low: 2,
  medium: 3,
  high: 4,
  critical: 5,
}

/** Whether a member is an IP address, not a hash or a commitment. */
export function isAddress(ip: LeafText | undefined): ip is string {
  return typeof ip === 'string' && isIP(ip) !== 0 && !ip.includes('%')
}

/** A text of a record; a personal value becomes `pii:` and its pseudonym. */
export function textOf(value: LeafText | undefined): string | undefined {
  return value === undefined || typeof value === 'string' ? value : `pii:${value.subject}`
}

/** A member of a table, without inherited members such as `constructor`. */
export function ownMember<T>(table: Readonly<Record<string, T>>, name = ''): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}

/** A copy without members that are `undefined`. */
export function withoutUndefined(
  value: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined))
}

/** Like {@link withoutUndefined}; `undefined` if no member is left. */
export function withoutUndefinedOrNone(
  value: Readonly<Record<string, unknown>>,
): Record<string, unknown> | undefined {
  const rest = withoutUndefined(value)
  return Object.keys(rest).length > 0 ? rest : undefined
}
