/** Restores a record: decrypts personal values whose keys still exist, and adds large members again. */
import { createHash } from 'node:crypto'
import type { LogStore } from '../log/log-store.ts'
import type { Json } from '../record/canonical-json.ts'
import type { AuditRecord } from '../record/leaf.ts'
import type { SubjectKeys } from '../record/personal-data.ts'

/** Replaces a value that was erased or cannot be decrypted. */
const ERASED = '[erased]'

/** A blob is used only if its hash matches the record. */
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
