/**
 * Re-encryption moves rows to the current keys while other processes read and write them. A row is
 * written only if it has not changed since it was read, so that no update is lost. Each batch ends
 * with a cursor to resume from.
 */
import { SEALED_MARK } from '@parapet/kit'
import { parseCiphertext } from '../crypto/aead.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
} from '../errors.ts'
import type { EncryptedField } from '../schema/encrypted.ts'
import { mapEncrypted } from '../schema/map-encrypted.ts'
import type { Row, RowChange, RowSource } from '../rows/row-source.ts'
import type { Importer } from './json-importer.ts'
import type { RecordCipher, RowPlace } from '../rows/record-cipher.ts'
import type { StoredPlace } from '../rows/row-places.ts'
import { cellOf } from '../rows/table-indexes.ts'
import type { TableShape } from '../rows/table-shape.ts'

/** The progress after a batch. The numbers count rows since the start of this run. */
export interface ReencryptProgress {
  /** Store it: a later run can resume from it. */
  readonly cursor: string | null
  /** The rows of the table when the run began; `null` if the source does not count them. */
  readonly total: number | null
  readonly read: number
  readonly rewritten: number
  /** Rows that were changed by another process in the meantime, and left as they are. */
  readonly overtaken: number
  /** The rows of this batch that could not be read or written. They are left as they are. */
  readonly failed: readonly FailedRow[]
  /** Whether the last row was read. */
  readonly done: boolean
}

/** A row that could not be re-encrypted. */
export interface FailedRow {
  readonly cursor: string
  /** The code of the error; `23505`: another row has the same value in a unique index. */
  readonly code: string
}

/** What a run takes from its options. */
export interface ReencryptSettings {
  readonly source: RowSource
  readonly cursor?: string | null
  readonly batchRows?: number
  readonly adoptPlaintext?: boolean
  readonly importer?: Importer
}

/** What {@link reencryptRows} needs of a table. */
export interface ReencryptPorts {
  readonly shape: Pick<TableShape, 'columns' | 'plaintext'>
  readonly cipher: RecordCipher
  readonly findPlaces: (rows: readonly Row[]) => Promise<readonly StoredPlace[]>
}

const BATCH_ROWS = 500

/** Re-encrypts rows in batches. The last progress has no batch, and `done`. */
export async function* reencryptRows(
  settings: ReencryptSettings,
  ports: ReencryptPorts,
): AsyncGenerator<ReencryptProgress> {
  const { source, batchRows = BATCH_ROWS } = settings
  let cursor = settings.cursor ?? null
  const total = (await source.count?.()) ?? null
  const counts = { read: 0, rewritten: 0, overtaken: 0 }
  for (;;) {
    const rows = await source.read(cursor, batchRows)
    const last = rows.at(-1)
    if (last === undefined) break
    const failed = await reencryptBatch(rows, settings, ports, counts)
    counts.read += rows.length
    cursor = source.cursorOf(last)
    yield { cursor, total, ...counts, failed, done: false }
  }
  yield { cursor, total, ...counts, failed: [], done: true }
}

/** @returns the rows that failed. */
async function reencryptBatch(
  rows: readonly Row[],
  settings: ReencryptSettings,
  ports: ReencryptPorts,
  counts: { rewritten: number; overtaken: number },
): Promise<FailedRow[]> {
  const { source } = settings
  const failed: FailedRow[] = []
  const changes: RowChange[] = []
  const places = await ports.findPlaces(rows)
  for (const [index, row] of rows.entries()) {
    const place = places[index]!
    // Its keys were destroyed on purpose, so it is no failure.
    if (place === 'forgotten') continue
    try {
      if (place === 'unlocated') {
        throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT('the row', 'has no complete identity')
      }
      const next = await rewriteRow(row, place, settings, ports)
      if (next !== row) changes.push({ before: row, after: next })
    } catch (error) {
      failed.push({ cursor: source.cursorOf(row), code: codeOf(error) })
    }
  }
  for (const [index, outcome] of (await writeChanges(source, changes)).entries()) {
    if (outcome === 'failed') {
      failed.push({ cursor: source.cursorOf(changes[index]!.before), code: UNIQUE_VIOLATION })
    } else counts[outcome]++
  }
  return failed
}

type Outcome = 'rewritten' | 'overtaken' | 'failed'

/** PostgreSQL's code for a value that another row has: two texts that are now one in a unique index. */
const UNIQUE_VIOLATION = '23505'

/** Of a foreign error its name only: a message may quote the value. */
function codeOf(error: unknown): string {
  const { code, name } = error as { readonly code?: unknown; readonly name?: unknown }
  return typeof code === 'string' ? code : String(name)
}

function outcomeOf(written: boolean): Outcome {
  return written ? 'rewritten' : 'overtaken'
}

async function writeChanges(source: RowSource, changes: readonly RowChange[]): Promise<Outcome[]> {
  if (source.writeMany !== undefined && changes.length > 1) {
    try {
      return (await source.writeMany(changes)).map(outcomeOf)
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      // One row of the batch is in the way of all others: write them one by one.
    }
  }
  const outcomes: Outcome[] = []
  for (const { before, after } of changes) {
    try {
      outcomes.push(outcomeOf(await source.write(before, after)))
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      outcomes.push('failed')
    }
  }
  return outcomes
}

function isUniqueViolation(error: unknown): boolean {
  return (error as { readonly code?: unknown } | null)?.code === UNIQUE_VIOLATION
}

async function rewriteRow(
  row: Row,
  place: RowPlace,
  { adoptPlaintext = false, importer }: ReencryptSettings,
  { cipher, shape }: ReencryptPorts,
): Promise<Row> {
  const imported = await importValues(row, shape, importer)
  const sealed = sealUnencrypted(row, place, { cipher, shape }, (field, value, path, isApart) => {
    const text = imported.get(value)
    if (text !== undefined) return field.codec.read(text)
    // In place of a ciphertext a value with its mark is a damaged one: adopting it would hide the damage.
    const isDamaged = !isApart && typeof value === 'string' && value.startsWith(SEALED_MARK)
    if (!adoptPlaintext || isDamaged) throw new PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND(path)
    return shape.plaintext.columns.has(path) ? shape.plaintext.adopt(path, value) : value
  })
  if (sealed === row && !cipher.isStale(row, place)) return row
  const plain: Record<string, unknown> = {}
  for (const column of shape.columns.keys()) {
    // `only` also opens fields with reveal 'never'.
    const opened = cipher.open(sealed, place, { roles: null, only: column }, () => {})
    const value = cellOf(opened, column)
    if (value !== undefined) plain[column] = value
  }
  return { ...row, ...cipher.seal(plain, place) }
}

/** Seals the values that are no ciphertexts. Returns the same row if there are none. */
function sealUnencrypted(
  row: Row,
  place: RowPlace,
  { cipher, shape }: Pick<ReencryptPorts, 'cipher' | 'shape'>,
  read: (field: EncryptedField, value: unknown, path: string, isApart: boolean) => unknown,
): Row {
  const sealed: Record<string, unknown> = { ...row }
  let isChanged = false
  for (const [column, node] of shape.columns) {
    const found = shape.plaintext.find(row, column)
    // In a column of its own a value is plaintext, whatever it looks like.
    const isApart = found !== undefined && shape.plaintext.columns.get(column) !== column
    sealed[column] = mapEncrypted(
      node,
      found ?? cellOf(row, column),
      column,
      (field, each, path) => {
        if (!isApart && parseCiphertext(each) !== undefined) return each
        isChanged = true
        return cipher.sealAt(field, read(field, each, path, isApart), path, place)
      },
    )
  }
  return isChanged ? sealed : row
}

/** The plaintexts of the values that the importer recognises, by their stored text. */
async function importValues(
  row: Row,
  { columns }: Pick<TableShape, 'columns'>,
  importer: Importer | undefined,
): Promise<ReadonlyMap<unknown, string>> {
  const texts = new Set<string>()
  if (importer !== undefined) {
    for (const [column, node] of columns) {
      mapEncrypted(node, cellOf(row, column), column, (_, value) => {
        if (typeof value === 'string' && importer.recognises(value)) texts.add(value)
      })
    }
  }
  const plain = new Map<unknown, string>()
  for (const text of texts) plain.set(text, await importer!.open(text))
  return plain
}
