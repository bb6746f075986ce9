/**
 * Re-encryption moves rows to the current keys while other processes read and write them. A row is
 * written only if it has not changed since it was read, so that no update is lost. Each batch ends
 * with a cursor to resume from.
 */
import { SEALED_MARK } from '@parapet/kit'
import { parseCiphertext } from '../crypto/aead.ts'
import { PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND } from '../errors.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import type { EncryptedField } from '../schema/encrypted.ts'
import { mapEncrypted } from '../schema/map-encrypted.ts'
import type { Row, RowSource } from '../sql/row-source.ts'
import { cellOf } from './index-columns.ts'
import type { Importer } from './json-importer.ts'
import type { RecordCipher, RowPlace } from './record-cipher.ts'

/** The options of `Table.reencrypt`. */
export interface ReencryptOptions {
  readonly source: RowSource
  /** @default the tenant in each row, or else '' */
  readonly tenant?: string
  /** The cursor of the last {@link ReencryptProgress}, to resume. @default from the first row */
  readonly cursor?: string | null
  /** Rows of one batch, 1 to 10 000. @default 500 */
  readonly batchRows?: number
  /** Encrypts values that are still stored as plaintext. @default false: such a row counts as failed */
  readonly adoptPlaintext?: boolean
  /** Reads values that are encrypted in another format. */
  readonly importer?: Importer
}

/** The progress after a batch. The numbers count rows since the start of this run. */
export interface ReencryptProgress {
  /** Store it: a later run can resume from it. */
  readonly cursor: string | null
  readonly read: number
  readonly rewritten: number
  /** Rows that were changed by another process in the meantime, and left as they are. */
  readonly overtaken: number
  /** Cursors of the rows of this batch that could not be read. They are left as they are. */
  readonly failed: readonly string[]
}

/** What {@link reencryptRows} needs of a table. */
export interface ReencryptPorts {
  readonly columns: ReadonlyMap<string, SchemaNode>
  readonly cipher: RecordCipher
  readonly findPlaces: (rows: readonly Row[]) => Promise<readonly (RowPlace | 'forgotten')[]>
}

const BATCH_ROWS = 500
const MAX_BATCH_ROWS = 10_000

/** Re-encrypts rows in batches. */
export async function* reencryptRows(
  options: ReencryptOptions,
  ports: ReencryptPorts,
): AsyncGenerator<ReencryptProgress> {
  const { source, batchRows = BATCH_ROWS } = options
  const limit = Math.min(Math.max(1, Math.trunc(batchRows)), MAX_BATCH_ROWS)
  let cursor = options.cursor ?? null
  const total = { read: 0, rewritten: 0, overtaken: 0 }
  for (;;) {
    const rows = await source.read(cursor, limit)
    const last = rows.at(-1)
    if (last === undefined) return
    const failed: string[] = []
    const places = await ports.findPlaces(rows)
    for (const [index, row] of rows.entries()) {
      const outcome = await reencryptRow(row, places[index]!, options, ports)
      if (outcome === 'failed') failed.push(source.cursorOf(row))
      else if (outcome !== 'kept') total[outcome]++
    }
    total.read += rows.length
    cursor = source.cursorOf(last)
    yield { cursor, ...total, failed }
  }
}

async function reencryptRow(
  row: Row,
  place: RowPlace | 'forgotten',
  options: ReencryptOptions,
  ports: ReencryptPorts,
): Promise<'kept' | 'rewritten' | 'overtaken' | 'failed'> {
  // Its keys were destroyed on purpose, so it is no failure.
  if (place === 'forgotten') return 'kept'
  let next: Row
  try {
    next = await rewriteRow(row, place, options, ports)
    if (next === row) return 'kept'
  } catch {
    return 'failed'
  }
  return (await options.source.write(row, next)) ? 'rewritten' : 'overtaken'
}

async function rewriteRow(
  row: Row,
  place: RowPlace,
  { adoptPlaintext = false, importer }: ReencryptOptions,
  { cipher, columns }: ReencryptPorts,
): Promise<Row> {
  const imported = await importValues(row, columns, importer)
  const sealed = sealUnencrypted(row, place, { cipher, columns }, (field, value, path) => {
    const text = imported.get(value)
    if (text !== undefined) return field.codec.read(text)
    // A value with the ciphertext mark is a damaged ciphertext: adopting it would hide the damage.
    const isDamaged = typeof value === 'string' && value.startsWith(SEALED_MARK)
    if (adoptPlaintext && !isDamaged) return value
    throw new PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND(path)
  })
  if (sealed === row && !cipher.isStale(row, place)) return row
  const plain: Record<string, unknown> = {}
  for (const column of columns.keys()) {
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
  { cipher, columns }: Pick<ReencryptPorts, 'cipher' | 'columns'>,
  read: (field: EncryptedField, value: unknown, path: string) => unknown,
): Row {
  const sealed: Record<string, unknown> = { ...row }
  let isChanged = false
  for (const [column, node] of columns) {
    sealed[column] = mapEncrypted(node, cellOf(row, column), column, (field, value, path) => {
      if (parseCiphertext(value) !== undefined) return value
      isChanged = true
      return cipher.sealAt(field, read(field, value, path), path, place)
    })
  }
  return isChanged ? sealed : row
}

/** The plaintexts of the values that the importer recognises, by their stored text. */
async function importValues(
  row: Row,
  columns: ReadonlyMap<string, SchemaNode>,
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
