/** Counts the keys that a table's values are sealed with, to decide which key may be destroyed. */
import { keyIdOf } from '@parapet/kit'
import { callOption } from '../call-options.ts'
import type { Keyset } from '../crypto/keyset.ts'
import type { Row, RowSource } from '../rows/row-source.ts'
import type { RecordCipher, RowPlace } from '../rows/record-cipher.ts'
import type { StoredPlace } from '../rows/row-places.ts'

/** The options of `Table.status`. */
export interface StatusOptions {
  readonly source: RowSource
  /** @default the tenant in each row, or else ''; the keys of '' are counted */
  readonly tenant?: string
}

/** The state of a table. */
export interface TableStatus {
  readonly rows: number
  /** The number of encrypted values by the id of their key. */
  readonly byKeyId: ReadonlyMap<number, number>
  /** Values that should be encrypted and are not. */
  readonly plaintext: number
  /** Rows that `reencrypt` would rewrite. */
  readonly staleRows: number
  /**
   * Former keys that this table no longer needs: no row is stale, and no instance can still seal with
   * them. Retire a key of a tenant once every table of the tenant lists it.
   */
  readonly safeToDestroy: readonly number[]
}

/** What {@link measureTable} needs of a table. */
export interface StatusPorts {
  readonly cipher: RecordCipher
  /** The tenant's own keyset; `null` if it has none yet. */
  readonly keyset: Keyset | null
  /** Whether every instance uses the keyset's primary key. */
  readonly settled: boolean
  readonly findPlaces: (rows: readonly Row[]) => Promise<readonly StoredPlace[]>
}

/** The options of a status. */
export const statusTable = { source: callOption.object, tenant: callOption.name }

const BATCH_ROWS = 1000

/** Reads all rows of a table and counts. */
export async function measureTable(
  { source }: StatusOptions,
  { cipher, keyset, settled, findPlaces }: StatusPorts,
): Promise<TableStatus> {
  const byKeyId = new Map<number, number>()
  let rows = 0
  let plaintext = 0
  let staleRows = 0
  for (let cursor: string | null = null; ;) {
    const batch: readonly Row[] = await source.read(cursor, BATCH_ROWS)
    const last = batch.at(-1)
    if (last === undefined) break
    const places = await findPlaces(batch)
    for (const [index, row] of batch.entries()) {
      const place = places[index]!
      rows++
      for (const { sealed } of cipher.inspect(row)) {
        if (sealed === undefined) plaintext++
        else byKeyId.set(keyIdOf(sealed), (byKeyId.get(keyIdOf(sealed)) ?? 0) + 1)
      }
      if (place === 'unlocated') staleRows++
      else if (place !== 'forgotten' && isStale(cipher, row, place)) staleRows++
    }
    cursor = source.cursorOf(last)
  }
  const isDone = keyset !== null && settled && staleRows === 0
  const safeToDestroy = isDone ? formerKeyIds(keyset).filter((id) => !byKeyId.has(id)) : []
  return { rows, byKeyId, plaintext, staleRows, safeToDestroy }
}

function formerKeyIds({ keys, primaryKeyId }: Keyset): number[] {
  return keys
    .filter(({ id, status }) => status !== 'destroyed' && id !== primaryKeyId)
    .map(({ id }) => id)
}

/** A row that cannot be read counts as stale: its key is kept in case the row can be repaired. */
function isStale(cipher: RecordCipher, row: Row, place: RowPlace): boolean {
  try {
    return cipher.isStale(row, place)
  } catch {
    return true
  }
}
