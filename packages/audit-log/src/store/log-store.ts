/** The port of the log's storage: a directory or a database, one contract. */
import type { Tile } from '../log/tiles.ts'
import type { AuditRecord } from '../record/leaf.ts'
import type { Beside, SealedValue, SubjectKey } from '../record/personal.ts'
import type { RecordFilter } from '../read/filter.ts'

/** A record that waits for its place in the log. */
export interface InboxRecord {
  readonly writer: string
  /** `null` for a record that came in a transaction of the app. */
  readonly seq: number | null
  readonly leaf: string
  readonly beside: string | null
}

/** What the log is now. */
export interface LogState {
  readonly origin: string
  readonly size: number
  readonly root: Buffer
  /** The unfinished tile of each level, lowest first. */
  readonly edge: readonly Buffer[]
  /** Entries below it were pruned. */
  readonly minIndex: number
  /** The signed checkpoint of this size; empty while the log is. */
  readonly note: string
}

/** An entry with its place. */
export interface PlacedEntry {
  readonly index: number
  readonly leaf: string
}

/** An entry with its query columns, where the store has them. */
export interface StoredEntry extends PlacedEntry {
  readonly columns?: Readonly<Record<string, unknown>>
}

/** One step of the log: what is written, all or nothing. */
export interface Integration {
  readonly next: LogState
  readonly entries: readonly (PlacedEntry & { readonly record: AuditRecord })[]
  readonly tiles: readonly Tile[]
  /** The next number of each writer that appears. */
  readonly writers: ReadonlyMap<string, number>
  readonly beside: readonly Beside[]
  readonly time: number
}

/** Plans a step; pure apart from the signature. `null` when nothing is to be written. */
export type PlanIntegration = (
  current: LogState,
  inbox: readonly InboxRecord[],
  writers: ReadonlyMap<string, number>,
) => Promise<Integration | null>

/** A published checkpoint. */
export interface StoredCheckpoint {
  readonly size: number
  readonly note: string
}

/** What is known of a subject's personal values. */
export interface SubjectState {
  readonly subject: string
  readonly keys: number
  readonly values: number
  readonly erasedAt: number | null
}

/** See the top of the file. Entries come back as texts; a range that was pruned is left out. */
export interface LogStore {
  /** `directory`, or `postgres` for PostgreSQL and PGlite. */
  readonly kind: 'directory' | 'postgres'
  /** Makes the store ready: folders or tables. */
  open(): Promise<void>
  /**
   * Keeps records until they are sequenced: durable when it resolves, harmless when repeated.
   * A directory resolves when they are in the log.
   */
  append(records: readonly InboxRecord[]): Promise<void>
  /**
   * Moves at most `max` records from the inbox into the log: the plan is written as a whole, and
   * only if the log is still at the size and root the plan began with.
   *
   * @returns how many left the inbox; 0 also when another process is at it.
   */
  sequence(plan: PlanIntegration, max: number): Promise<number>
  state(): Promise<LogState | null>
  /** The stored hashes of a tile; may be more than a tree of an earlier size has. */
  tile(level: number, index: number): Promise<Buffer | undefined>
  /** The entries of `[start, end)` that are stored, in order. @throws PARAPET_AUDIT_LOG_CORRUPT they cannot be read. */
  entries(start: number, end: number): Promise<StoredEntry[]>
  /** Checkpoints of a larger size than `after`, in order. */
  checkpoints(after: number, limit: number): Promise<StoredCheckpoint[]>
  /** Matching entries, newest first, with an index below `before`. */
  search(filter: RecordFilter, before: number, limit: number): Promise<PlacedEntry[]>
  /** The place of a record. */
  find(id: string): Promise<PlacedEntry | undefined>

  valuesOf(record: string): Promise<{ value: SealedValue; key: SubjectKey }[]>
  blob(sha256: string): Promise<string | undefined>
  /** Destroys a subject's keys and values, and refuses late arrivals made before `time`. */
  eraseSubject(subject: string, time: number): Promise<{ keys: number; values: number }>
  subjects(after: string, limit: number): Promise<SubjectState[]>

  /** Takes a cursor for `ttlMs`; `null` while another process has it. */
  claimCursor(name: string, holder: string, ttlMs: number): Promise<number | null>
  /** @returns whether the holder still had it. */
  moveCursor(name: string, holder: string, position: number): Promise<boolean>
  /** Removes the entries below `before`; their hashes stay. */
  prune(before: number): Promise<number>
  /** Whether this role may edit entries, which nothing but a migration needs; a directory has no roles. */
  mayEdit?(): Promise<boolean>
  /** How many entries lie at or beyond `size`, which no checkpoint covers. */
  surplus(size: number): Promise<number>
  close(): Promise<void>
}
