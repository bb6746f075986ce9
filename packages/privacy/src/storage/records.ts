/**
 * The port of everything that this plugin stores: versioned documents of a few kinds.
 *
 * @see docs/adr/1401-one-table-of-documents.md
 */

/** `request`, `consent`, `hold`, `mark` (an entry of the ledger that was carried out), `sweep`. */
export type RecordKind = 'request' | 'consent' | 'hold' | 'mark' | 'sweep'

/** A document and the columns that it is found by. */
export interface StoredRecord<Body = unknown> {
  readonly kind: RecordKind
  readonly id: string
  /** Starts at 1; each change adds 1. */
  readonly version: number
  /** The pseudonym of the subject. */
  readonly owner: string | null
  /** A group within the kind: the purpose of a consent, `open` or `closed` of a request. */
  readonly topic: string | null
  /** At most one record of a kind has this key. */
  readonly uniqueKey: string | null
  /** Milliseconds since the Unix epoch; lists are sorted by it. */
  readonly time: number
  /** JSON. */
  readonly body: Body
}

/** Which records {@link Records.list} returns. */
export interface RecordFilter {
  readonly owner?: string
  readonly topic?: string
  /** Only records that come after this one in the list. */
  readonly after?: { readonly time: number; readonly id: string }
  /** From 1 to 1000. */
  readonly limit: number
  /** `latest`: the newest first. @default 'latest' */
  readonly order?: 'latest' | 'earliest'
}

/** Stores records. Every call must answer; the adapter has the deadline. */
export interface Records {
  /** Stores a new record as version 1. @returns `false`: its id or unique key is taken. */
  insert(record: Omit<StoredRecord, 'version'>): Promise<boolean>
  find<Body>(kind: RecordKind, id: string): Promise<StoredRecord<Body> | null>
  /** Replaces a record if it still has this version. @returns `false`: it has another one. */
  save(record: StoredRecord): Promise<boolean>
  list<Body>(kind: RecordKind, filter: RecordFilter): Promise<StoredRecord<Body>[]>
  /** The ids that are not stored, of at most 1000. */
  missing(kind: RecordKind, ids: readonly string[]): Promise<string[]>
  /** Deletes a record. @returns whether there was one. */
  remove(kind: RecordKind, id: string): Promise<boolean>
}
