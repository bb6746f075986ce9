/**
 * The erasure ledger: who was erased, as pseudonyms. It is kept outside the backups of the data, so that
 * after a restore the subjects are erased again.
 *
 * @see docs/spec/erasure-ledger.md
 */
import type { SqlClient } from '@parapet/kit'
import { PARAPET_PRIVACY_LEDGER_DAMAGED } from '../errors.ts'
import type { Pseudonyms } from '../identity/pseudonyms.ts'

/** One erasure. It holds no personal data. */
export interface LedgerEntry {
  /** The id of the request. */
  readonly id: string
  /** The pseudonym of the subject. */
  readonly reference: string
  /** When the erasure began, in milliseconds since the Unix epoch. */
  readonly at: number
}

/** Keeps entries as lines of text. */
export interface Ledger {
  /** Appends a line durably. An id that is known already may be appended again. */
  append(id: string, line: string): Promise<void>
  /** All lines, in batches of at most 1000. */
  read(): AsyncIterable<readonly string[]>
}

/** Writes an entry with the code that authenticates it. */
export function writeEntry({ id, reference, at }: LedgerEntry, pseudonyms: Pseudonyms): string {
  const text = JSON.stringify({ v: 1, id, reference, at })
  return JSON.stringify({ v: 1, id, reference, at, mac: pseudonyms.authenticate(text) })
}

/** Reads an entry strictly. @throws PARAPET_PRIVACY_LEDGER_DAMAGED */
export function readEntry(line: string, pseudonyms: Pseudonyms): LedgerEntry {
  const { mac, ...entry } = parse(line)
  const { id, reference, at } = entry
  const isSound =
    typeof id === 'string' &&
    typeof reference === 'string' &&
    typeof at === 'number' &&
    typeof mac === 'string'
  if (!isSound) throw new PARAPET_PRIVACY_LEDGER_DAMAGED(nameOf(id))
  // Written again and compared, so that each entry has one form.
  const known = { id, reference, at }
  if (
    !pseudonyms.verify(JSON.stringify({ v: 1, ...known }), mac) ||
    writeEntry(known, pseudonyms) !== line
  ) {
    throw new PARAPET_PRIVACY_LEDGER_DAMAGED(nameOf(id))
  }
  return known
}

function parse(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Reported below.
  }
  throw new PARAPET_PRIVACY_LEDGER_DAMAGED('without an id')
}

function nameOf(id: unknown): string {
  return typeof id === 'string' ? id.slice(0, 36) : 'without an id'
}

/** A ledger in memory, which a restore cannot outlive: for tests. */
export function createMemoryLedger(): Ledger {
  const lines = new Map<string, string>()
  return {
    append: async (id, line) => void lines.set(id, line),
    async *read() {
      yield [...lines.values()]
    },
  }
}

const BATCH = 1000

/**
 * A ledger in the table `privacy_ledger` of a database. Use another database than that of the data: one
 * that is not restored with it. Call `migratePrivacy(sql)` once.
 */
export function createSqlLedger(sql: SqlClient): Ledger {
  return {
    async append(id, entry) {
      await sql.query(
        'INSERT INTO privacy_ledger (id, entry) VALUES ($1, $2) ON CONFLICT DO NOTHING',
        [id, entry],
      )
    },
    async *read() {
      let after = '0'
      for (;;) {
        const { rows } = await sql.query<{ position: string; entry: string }>(
          `SELECT position::text AS position, entry FROM privacy_ledger
            WHERE position > $1::bigint ORDER BY position LIMIT ${BATCH}`,
          [after],
        )
        if (rows.length > 0) yield rows.map(({ entry }) => entry)
        if (rows.length < BATCH) return
        after = rows.at(-1)!.position
      }
    },
  }
}
