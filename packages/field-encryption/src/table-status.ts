/** What a table's values are sealed with: the answer to "may this key go?". */
import { keyIdOf } from './aead.ts'
import type { Keyset } from './keyset.ts'
import type { RecordCipher, Row, RowPlace } from './record-cipher.ts'
import type { RowSource } from './reencrypt.ts'

/** What {@link measureTable} takes. */
export interface StatusOptions {
  readonly source: RowSource
  /** @default '' */
  readonly tenant?: string
}

/** What a table holds. */
export interface TableStatus {
  readonly rows: number
  /** Encrypted values by the id of the key that sealed them. */
  readonly byKeyId: ReadonlyMap<number, number>
  /** Values that should be encrypted and are not. */
  readonly plaintext: number
  /** Rows that `reencrypt` would write. */
  readonly staleRows: number
  /**
   * Former keys that this table needs no more: no row is stale, and no instance can still seal with
   * them. A key of the tenant is retired once every table of the tenant says so.
   */
  readonly safeToDestroy: readonly number[]
}

/** What the count needs of a table. */
export interface StatusPorts {
  readonly cipher: RecordCipher
  /** The tenant's. */
  readonly keyset: Keyset
  readonly settled: boolean
  readonly places: (rows: readonly Row[]) => Promise<readonly (RowPlace | 'forgotten')[]>
}

const BATCH_ROWS = 1000

/** Reads a table from its first row to its last and counts. */
export async function measureTable(
  { source }: StatusOptions,
  { cipher, keyset, settled, places }: StatusPorts,
): Promise<TableStatus> {
  const byKeyId = new Map<number, number>()
  let rows = 0
  let plaintext = 0
  let staleRows = 0
  for (let cursor: string | null = null; ;) {
    const batch: readonly Row[] = await source.read(cursor, BATCH_ROWS)
    const last = batch.at(-1)
    if (last === undefined) break
    const found = await places(batch)
    for (const [index, row] of batch.entries()) {
      const place = found[index]!
      rows++
      for (const { envelope } of cipher.inspect(row)) {
        if (envelope === undefined) plaintext++
        else byKeyId.set(keyIdOf(envelope), (byKeyId.get(keyIdOf(envelope)) ?? 0) + 1)
      }
      if (place !== 'forgotten' && isStale(cipher, row, place)) staleRows++
    }
    cursor = source.cursorOf(last)
  }
  const former = keyset.keys
    .filter(({ id, status }) => status !== 'destroyed' && id !== keyset.primaryKeyId)
    .map(({ id }) => id)
    .filter((id) => !byKeyId.has(id))
  return {
    rows,
    byKeyId,
    plaintext,
    staleRows,
    safeToDestroy: settled && staleRows === 0 ? former : [],
  }
}

/** A row that cannot be read keeps its key: perhaps it can be mended. */
function isStale(cipher: RecordCipher, row: Row, place: RowPlace): boolean {
  try {
    return cipher.isStale(row, place)
  } catch {
    return true
  }
}
