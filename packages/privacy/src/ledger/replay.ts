/** After a restore: finds the subjects whose erasure the database has forgotten, and erases them again. */
import type { Pseudonyms } from '../identity/pseudonyms.ts'
import type { RegisteredSource } from '../sources/source.ts'
import type { Records } from '../storage/records.ts'
import { readEntry, type LedgerEntry } from './ledger.ts'

/** What a replay needs. */
export interface ReplayPorts {
  /** The lines of the ledger, in batches. */
  readonly lines: () => AsyncIterable<readonly string[]>
  readonly records: Records
  readonly pseudonyms: Pseudonyms
  readonly sources: readonly RegisteredSource[]
  readonly subjectsOf: (source: RegisteredSource) => AsyncIterable<string>
  readonly now: () => number
  /** Erases a subject from every source. @param id of the request of the first erasure. */
  readonly erase: (id: string, subject: string) => Promise<void>
  readonly signal: AbortSignal
}

/** What a replay found. */
export interface ReplayReport {
  /** Entries that the database did not know. */
  readonly entries: number
  /** Subjects that were found and erased. */
  readonly subjects: number
}

/**
 * Compares the ledger with the database. An entry is marked when its subject was erased again, so a replay
 * that is interrupted goes on with the next start.
 */
export async function replayLedger(ports: ReplayPorts): Promise<ReplayReport> {
  const forgotten = await findForgotten(ports)
  const all = [...forgotten.values()].flat()
  if (all.length === 0) return { entries: 0, subjects: 0 }
  let subjects = 0
  const seen = new Set<string>()
  for (const source of ports.sources) {
    for await (const subject of ports.subjectsOf(source)) {
      ports.signal.throwIfAborted()
      const reference = ports.pseudonyms.referenceOf(subject)
      const [entry] = forgotten.get(reference) ?? []
      if (entry === undefined || seen.has(reference)) continue
      seen.add(reference)
      await ports.erase(entry.id, subject)
      subjects += 1
    }
  }
  for (const entry of all) await markReplayed(ports, entry)
  return { entries: all.length, subjects }
}

/** Notes in the database that an entry of the ledger is carried out, or in the hands of a request. */
export async function markReplayed(
  { records, now, pseudonyms }: Pick<ReplayPorts, 'records' | 'now' | 'pseudonyms'>,
  { id, reference }: Pick<LedgerEntry, 'id' | 'reference'>,
): Promise<void> {
  const columns = { kind: 'mark', owner: reference, topic: null, uniqueKey: null } as const
  await records.insert({ ...columns, id: markOf(id, pseudonyms), time: now(), body: {} })
}

/** Only the holder of the secret can tell under which id an entry is marked. */
function markOf(id: string, pseudonyms: Pseudonyms): string {
  return pseudonyms.authenticate(`mark ${id}`)
}

async function findForgotten({
  lines: read,
  records,
  pseudonyms,
}: ReplayPorts): Promise<Map<string, LedgerEntry[]>> {
  const forgotten = new Map<string, LedgerEntry[]>()
  for await (const lines of read()) {
    const entries = lines.map((line) => readEntry(line, pseudonyms))
    const ids = entries.map(({ id }) => markOf(id, pseudonyms))
    const missing = new Set(ids.length === 0 ? [] : await records.missing('mark', ids))
    for (const entry of entries.filter(({ id }) => missing.has(markOf(id, pseudonyms)))) {
      forgotten.set(entry.reference, [...(forgotten.get(entry.reference) ?? []), entry])
    }
  }
  return forgotten
}
