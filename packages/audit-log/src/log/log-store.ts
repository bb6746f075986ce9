/** The storage port of the log; a directory and PostgreSQL implement it. */
import type { ResolvedFilter } from '../record/filter.ts'
import type { AuditRecord } from '../record/leaf.ts'
import type { Attachments, SealedValue, SubjectKey } from '../record/personal-data.ts'
import { EMPTY_ROOT } from './merkle-tree.ts'
import type { Tile } from './tiles.ts'

/** A record that is not in the log yet. */
export interface InboxRecord {
  readonly writer: string
  /** The number of the record among those of its writer; `null` for a record of an app's transaction. */
  readonly seq: number | null
  readonly leaf: string
  /** JSON of {@link Attachments}, or `null`. */
  readonly attachments: string | null
  /** Why the store refuses the record; absent if it does not. */
  readonly refusal?: InboxRefusal
}

/**
 * `forged`: no writer of this log made it. `replayed`: the log has it already, or had it before a
 * pruning. `outdated`: its number is below its writer's next one, but the log does not have it.
 */
type InboxRefusal = 'forged' | 'replayed' | 'outdated'

/** The current state of the log. */
export interface LogState {
  readonly origin: string
  readonly size: number
  readonly root: Buffer
  /** The unfinished tile of each level, lowest level first. */
  readonly edge: readonly Buffer[]
  /** Entries with a smaller index were pruned. */
  readonly minIndex: number
  /** The signed checkpoint of this size; empty if the log is empty. */
  readonly note: string
}

/** The state of a log without entries. */
export function emptyState(origin: string): LogState {
  return { origin, size: 0, root: EMPTY_ROOT, edge: [], minIndex: 0, note: '' }
}

/** An entry with its position. */
export interface PlacedEntry {
  readonly index: number
  readonly leaf: string
}

/** An entry with its query columns, if the store has columns. */
export interface StoredEntry extends PlacedEntry {
  readonly columns?: Readonly<Record<string, unknown>>
}

/** One step of the log; it is written completely or not at all. */
export interface Integration {
  readonly next: LogState
  readonly entries: readonly (PlacedEntry & { readonly record: AuditRecord })[]
  readonly tiles: readonly Tile[]
  /** The next expected number of each writer after this step. */
  readonly writers: ReadonlyMap<string, number>
  readonly attachments: readonly Attachments[]
  readonly time: number
}

/** Plans a step; only the signature is impure. `null`: nothing to write. */
export type PlanIntegration = (
  current: LogState,
  inbox: readonly InboxRecord[],
  writers: ReadonlyMap<string, number>,
) => Promise<Integration | null>

/** Thrown by a store when another process wrote a step of the log first; the step is retried. */
export class SequencerConflict extends Error {
  override readonly message = 'another sequencer wrote the next step first'
}

/** A published checkpoint. */
export interface StoredCheckpoint {
  readonly size: number
  readonly note: string
}

/** A personal value, with its key. */
export interface StoredValue {
  readonly value: SealedValue
  readonly key: SubjectKey
}

/** The position of a sink. */
export interface Cursor {
  readonly position: number
  /** Whether a process of this log stored it. */
  readonly isGenuine: boolean
}

/** The stored keys and values of one subject. */
export interface SubjectState {
  readonly subject: string
  readonly keys: number
  readonly values: number
  readonly erasedAt: number | null
}

/** The records of one writer that are in the log. */
export interface Logged {
  /** How many of the asked ones are. */
  readonly count: number
  /** The highest number in the log; -1 if there is none. */
  readonly lastSeq: number
  /** Its index; -1 if there is none. */
  readonly lastIndex: number
}

/** Stores a log. Entries are returned as texts; pruned entries are left out. */
export interface LogStore {
  /** `directory`, `postgres` for PostgreSQL and PGlite, or `tiles` for a copy that has tiles only. */
  readonly kind: 'directory' | 'postgres' | 'tiles'
  /** Creates folders or tables, and locks a directory. */
  open(): Promise<void>
  /**
   * Keeps records until they are sequenced. Resolves when they are durable; a directory, when they
   * are in the log. Repeating a call does no harm.
   */
  append(records: readonly InboxRecord[]): Promise<void>
  /**
   * Moves at most `max` records from the inbox into the log. The step is written atomically, and
   * only if the log still has the size and root that the plan started from.
   *
   * @param urgentFor goes on although another process seems to be sequencing, for it may be dead, and
   *   does not wait for missing numbers of these writers. @default waits for both
   * @returns the number of records taken from the inbox; 0 also if another process is sequencing.
   */
  sequence(plan: PlanIntegration, max: number, urgentFor?: ReadonlySet<string>): Promise<number>
  state(): Promise<LogState | null>
  /** The stored hashes of a tile; may be more than an earlier tree size had. */
  tile(level: number, index: number): Promise<Buffer | undefined>
  /** The stored entries from `start` (inclusive) to `end`, in order. @throws PARAPET_AUDIT_LOG_CORRUPT */
  entries(start: number, end: number): Promise<StoredEntry[]>
  /** Every checkpoint, in order; only a few are in memory at a time. */
  checkpoints(): AsyncIterable<StoredCheckpoint>
  /** The latest checkpoint that the witness cosigned, with its cosignature. */
  cosigned(): Promise<string | undefined>
  /** Replaces {@link LogStore.cosigned}. */
  keepCosigned(note: string): Promise<void>
  /** Matching entries, newest first, with an index below `before`. */
  search(filter: ResolvedFilter, before: number, limit: number): Promise<PlacedEntry[]>
  /** The entry of a record, by its id. */
  find(id: string): Promise<PlacedEntry | undefined>

  valuesOf(record: string): Promise<StoredValue[]>
  /** The stored values of many records. @param subjects the pseudonyms in these records */
  valuesOfMany(records: readonly string[], subjects: readonly string[]): Promise<StoredValue[]>
  blob(sha256: string): Promise<string | undefined>
  /** Deletes a subject's keys and values, and refuses keys that were created up to `time` later on. */
  eraseSubject(subject: string, time: number): Promise<{ keys: number; values: number }>
  subjects(after: string, limit: number): Promise<SubjectState[]>
  /** The stored keys and values of the subject with this pseudonym. */
  subject(pseudonym: string): Promise<SubjectState>
  /** The text of {@link LogStore.keepSecretCheck}. */
  secretCheck(): Promise<string | undefined>
  /** Keeps a text that shows later whether the secrets of personal data are still the same. */
  keepSecretCheck(text: string): Promise<void>

  /** Leases a cursor for `ttlMs`; `null` while another process holds the lease. */
  claimCursor(name: string, holder: string, ttlMs: number): Promise<Cursor | null>
  /** @returns whether the holder still had the lease. */
  moveCursor(name: string, holder: string, position: number): Promise<boolean>
  /** Removes the entries below `before` and keeps their hashes. @returns how many were removed */
  prune(before: number): Promise<number>
  /** Whether this database role can update entries, which only a migration needs. */
  mayEdit?(): Promise<boolean>
  /**
   * What the log has of a writer's records from number `first` to `last`; `null` if this role may not
   * see it. A store without it resolves {@link append} only when the records are in the log.
   *
   * @param after the entries up to this index need not be looked at.
   */
  logged?(writer: string, first: number, last: number, after: number): Promise<Logged | null>
  /** Removes records of a writer that wait for sequencing, because they are sent again. */
  forgetWaiting(
    writer: string,
    ranges: readonly (readonly [from: number, to: number])[],
  ): Promise<void>
  /** The time of the oldest record that waits for sequencing; `null` if none does. */
  oldestWaiting(): Promise<number | null>
  /** The number of entries at or above `size`, which no checkpoint covers. */
  surplus(size: number): Promise<number>
  close(): Promise<void>
}

/** What a verifier reads of a log. */
export type VerifiableLog = Pick<
  LogStore,
  | 'kind'
  | 'state'
  | 'tile'
  | 'entries'
  | 'checkpoints'
  | 'cosigned'
  | 'subjects'
  | 'valuesOfMany'
  | 'blob'
  | 'surplus'
>
