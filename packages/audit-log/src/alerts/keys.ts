/** The values by which alert rules count. */
import { clientKey, parseClientAddress } from '@parapet/kit'
import type { AuditRecord } from '../record/leaf.ts'
import type { Projection } from '../record/projection.ts'

/** A member by which a rule can group records; `data.<name>` is a text of the record's data. */
export type AlertKey = keyof typeof COLUMNS | `data.${string}`

/** The query column of each key. */
const COLUMNS = {
  principal: 'principal',
  ip: 'ip',
  session: 'session',
  tenant: 'tenant',
  resourceId: 'resource_id',
} as const satisfies Readonly<Record<string, keyof Projection>>

/** The keys, for an error message. */
export const KEY_NAMES = `${Object.keys(COLUMNS).join(', ')}, data.<name>`

/** Whether a value names a key. */
export function isAlertKey(value: unknown): value is AlertKey {
  if (typeof value !== 'string') return false
  return Object.hasOwn(COLUMNS, value) || /^data\.\w{1,64}$/.test(value)
}

/** The value of a key; `undefined` if the record does not have it. */
export function keyOf(key: AlertKey, record: AuditRecord, row: Projection): string | undefined {
  if (!isColumn(key)) {
    const value = (record.data as Readonly<Record<string, unknown>> | undefined)?.[key.slice(5)]
    return typeof value === 'string' ? value : undefined
  }
  const value = row[COLUMNS[key]] ?? undefined
  // A network of IPv6 belongs to one client, who has an address for each attempt. A hash is no address.
  const isAddress = key === 'ip' && value !== undefined && parseClientAddress(value) !== null
  return isAddress ? clientKey(value) : value
}

function isColumn(key: AlertKey): key is keyof typeof COLUMNS {
  return Object.hasOwn(COLUMNS, key)
}
