/** Entries of the log with their parsed records. */
import type { OcsfClass } from '../record/actions.ts'
import { parseLeaf, type AuditRecord } from '../record/leaf.ts'
import type { PlacedEntry } from './log-store.ts'

/** A record with its position in the log. */
export interface AuditEntry {
  readonly index: number
  readonly record: AuditRecord
  /** The exact text of the record, as the log hashes it. */
  readonly leaf: string
  /** The OCSF class of the action, if its definition has one; for sinks. */
  readonly ocsf?: OcsfClass
}

/** Parses entries. An entry that is not a valid record is skipped; the verifier reports it. */
export function toEntries(placed: readonly PlacedEntry[]): AuditEntry[] {
  return placed.flatMap(({ index, leaf }) => {
    const record = parseLeaf(leaf)
    return record === undefined ? [] : [{ index, record, leaf }]
  })
}
