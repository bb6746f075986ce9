/** A record as it was given: commitments opened where their keys still exist, large members put back. */
import { createHash } from 'node:crypto'
import type { LogStore } from '../store/log-store.ts'
import type { Json } from './canonical.ts'
import type { AuditRecord } from './leaf.ts'
import type { SubjectKeys } from './personal.ts'

/** What stands where a value was erased, or its key is not at hand. */
const ERASED = '[erased]'

/** Opens what can be opened; a blob counts only if it is the one the record names. */
export async function revealRecord(
  record: AuditRecord,
  store: LogStore,
  subjects: SubjectKeys | undefined,
): Promise<Record<string, unknown>> {
  const { blob, ...rest } = record
  const moved = blob === undefined ? {} : await readBlob(blob.sha256, store)
  const values = new Map<string, Json>()
  for (const { value, key } of await store.valuesOf(record.id)) {
    const opened = await subjects?.open(value, key)
    if (opened !== undefined) values.set(opened.commitment, opened.value)
  }
  return replace({ ...rest, ...moved }, values) as Record<string, unknown>
}

async function readBlob(sha256: string, store: LogStore): Promise<Record<string, unknown>> {
  const text = await store.blob(sha256)
  if (text === undefined) return {}
  const actual = createHash('sha256').update(text).digest('hex')
  return actual === sha256 ? (JSON.parse(text) as Record<string, unknown>) : {}
}

function replace(value: unknown, values: ReadonlyMap<string, Json>): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => replace(item, values))
  const { $pii } = value as { $pii?: unknown }
  if (typeof $pii === 'string') return values.get($pii) ?? ERASED
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, replace(member, values)]),
  )
}
