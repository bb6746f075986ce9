/** Restores a record: decrypts personal values whose keys still exist, and adds large members again. */
import { createHash } from 'node:crypto'
import type { LogStore, StoredValue } from '../log/log-store.ts'
import type { Json } from '../record/canonical-json.ts'
import { parseLeaf, type AuditRecord } from '../record/leaf.ts'
import { commitmentsIn, type SubjectKeys } from '../record/personal-data.ts'

/** Replaces a value that was erased. */
const ERASED = '[erased]'
/** Replaces a value that was not erased, but is missing or cannot be decrypted. */
const UNREADABLE = '[unreadable]'

/** What {@link revealRecord} needs. */
export interface RevealSettings {
  readonly store: LogStore
  readonly subjects: SubjectKeys | undefined
  /** Called for a subject whose keys were restored after its erasure. */
  readonly onRestored: (pseudonym: string) => void
}

/** A blob is used only if its hash matches the record. */
export async function revealRecord(
  record: AuditRecord,
  { store, subjects, onRestored }: RevealSettings,
): Promise<Record<string, unknown>> {
  const { blob, ...rest } = record
  const whole = { ...rest, ...(blob === undefined ? {} : await readBlob(blob.sha256, store)) }
  const stored = await store.valuesOf(record.id)
  const values = new Map<string, Json>()
  const unreadable = new Set<string>()
  const erasedAt = await erasuresOf(
    store,
    new Set(commitmentsIn(whole).map((each) => each.subject)),
  )
  for (const item of stored) {
    const { subject } = item.value
    if (isRestored(item, erasedAt)) {
      onRestored(subject)
      continue
    }
    const opened = await subjects?.open(item.value, item.key)
    if (opened === undefined) unreadable.add(subject)
    else values.set(opened.commitment, opened.value)
  }
  const missing = ({ subject }: { readonly subject?: string }) =>
    erasedAt.has(subject ?? '') && !unreadable.has(subject ?? '') ? ERASED : UNREADABLE
  return replace(whole, values, missing) as Record<string, unknown>
}

/** A backup of the keys may have been restored, and the log knows that they were destroyed. */
function isRestored({ key }: StoredValue, erasedAt: ReadonlyMap<string, number>): boolean {
  return key.createdAt <= (erasedAt.get(key.subject) ?? -1)
}

/** The time of the last erasure of each subject, by the store or by the log. */
async function erasuresOf(
  store: LogStore,
  subjects: ReadonlySet<string>,
): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for (const resourceId of subjects) {
    const filter = { action: 'audit_log.subject_erased', resourceId }
    const [last] = await store.search(filter, Number.MAX_SAFE_INTEGER, 1)
    const logged = parseLeaf(last?.leaf ?? '')?.time
    const marked = (await store.subject(resourceId)).erasedAt
    const time = Math.max(logged ?? -1, marked ?? -1)
    if (time >= 0) found.set(resourceId, time)
  }
  return found
}

async function readBlob(sha256: string, store: LogStore): Promise<Record<string, unknown>> {
  const text = await store.blob(sha256)
  if (text === undefined) return {}
  const actual = createHash('sha256').update(text).digest('hex')
  return actual === sha256 ? (JSON.parse(text) as Record<string, unknown>) : {}
}

function replace(
  value: unknown,
  values: ReadonlyMap<string, Json>,
  missing: (commitment: { readonly subject?: string }) => string,
): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => replace(item, values, missing))
  const { $pii } = value as { $pii?: unknown }
  if (typeof $pii === 'string') return values.get($pii) ?? missing(value)
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, replace(member, values, missing)]),
  )
}
