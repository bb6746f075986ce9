/**
 * Re-encryption: rows move to the present keys while others read and write them. Each row is written
 * only if it is still what was read, so no update is ever lost; a batch ends with a cursor to go on from.
 */
import { MARK, parseEnvelope } from './aead.ts'
import type { EncryptedField } from './encrypted.ts'
import { PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND } from './errors.ts'
import type { Importer } from './importers.ts'
import { cellOf, type RecordCipher, type Row, type RowPlace } from './record-cipher.ts'
import type { SchemaNode } from './schema.ts'
import { mapLeaves } from './walk.ts'

/** Where the rows are. `table.sql.rowSource(sql)` makes one for PostgreSQL. */
export interface RowSource {
  /** The next rows behind a cursor, in a fixed order. @param cursor `null`: from the first */
  read(cursor: string | null, limit: number): Promise<readonly Row[]>
  /** Where a row stands. */
  cursorOf(row: Row): string
  /** Writes the encrypted columns of a row if they still hold what `before` has. @returns whether it did. */
  write(before: Row, after: Row): Promise<boolean>
}

/** What {@link reencryptRows} takes. */
export interface ReencryptOptions {
  readonly source: RowSource
  /** @default what each row says, else '' */
  readonly tenant?: string
  /** The cursor of the last {@link ReencryptProgress} that was seen. @default from the first row */
  readonly cursor?: string | null
  /** Rows for one read, 1 to 10 000. @default 500 */
  readonly batchRows?: number
  /** Encrypts what is still stored in clear. @default false: such a row counts as failed */
  readonly adoptPlaintext?: boolean
  /** Reads values of another format. */
  readonly importer?: Importer
}

/** How far it is. Numbers count rows since the start of this run. */
export interface ReencryptProgress {
  /** Keep it: a later run goes on behind it. */
  readonly cursor: string | null
  readonly read: number
  readonly rewritten: number
  /** Somebody else wrote the row meanwhile, with keys of their own. */
  readonly overtaken: number
  /** Cursors of rows of this batch that could not be read; they stay as they are. */
  readonly failed: readonly string[]
}

/** What re-encryption needs of a table. */
export interface ReencryptPorts {
  readonly columns: ReadonlyMap<string, SchemaNode>
  readonly cipher: RecordCipher
  /** Where rows belong; `learn`: also under keys that another instance made a moment ago. */
  readonly places: (
    rows: readonly Row[],
    learn: boolean,
  ) => Promise<readonly (RowPlace | 'forgotten')[]>
}

const BATCH_ROWS = 500
const MAX_BATCH_ROWS = 10_000

/** Re-encrypts rows, batch by batch. */
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
    const places = await ports.places(rows, true)
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
  { cipher, columns }: ReencryptPorts,
): Promise<'kept' | 'rewritten' | 'overtaken' | 'failed'> {
  // Nobody can read it any more, and nobody is meant to.
  if (place === 'forgotten') return 'kept'
  let next: Row
  try {
    next = await rewrite(row, place, options, { cipher, columns })
    if (next === row) return 'kept'
  } catch {
    return 'failed'
  }
  return (await options.source.write(row, next)) ? 'rewritten' : 'overtaken'
}

async function rewrite(
  row: Row,
  place: RowPlace,
  { adoptPlaintext = false, importer }: ReencryptOptions,
  { cipher, columns }: Pick<ReencryptPorts, 'cipher' | 'columns'>,
): Promise<Row> {
  const imported = await importAll(row, columns, importer)
  const sealed = sealForeign(row, place, { cipher, columns }, (field, value, path) => {
    const text = imported.get(value)
    if (text !== undefined) return field.codec.read(text)
    // What begins like a ciphertext is a damaged one, sooner than a text.
    const isDamaged = typeof value === 'string' && value.startsWith(MARK)
    if (adoptPlaintext && !isDamaged) return value
    throw new PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND(path)
  })
  if (sealed === row && !cipher.isStale(row, place)) return row
  // Opened whole and sealed anew, with the present keys, tokens and schema version.
  const plain: Record<string, unknown> = {}
  for (const column of columns.keys()) {
    const opened = cipher.open(sealed, place, { roles: null, only: column }, () => {})
    const value = cellOf(opened, column)
    if (value !== undefined) plain[column] = value
  }
  return { ...row, ...cipher.seal(plain, place) }
}

/** The row with what is not encrypted yet encrypted; the row itself where that is nothing. */
function sealForeign(
  row: Row,
  place: RowPlace,
  { cipher, columns }: Pick<ReencryptPorts, 'cipher' | 'columns'>,
  adopt: (field: EncryptedField, value: unknown, path: string) => unknown,
): Row {
  const sealed: Record<string, unknown> = { ...row }
  let foreign = false
  for (const [column, node] of columns) {
    sealed[column] = mapLeaves(node, cellOf(row, column), column, (field, value, path) => {
      if (parseEnvelope(value) !== undefined) return value
      foreign = true
      return cipher.sealAt(field, adopt(field, value, path), path, place)
    })
  }
  return foreign ? sealed : row
}

/** The plaintext of each value that an importer knows, by its stored text. */
async function importAll(
  row: Row,
  columns: ReadonlyMap<string, SchemaNode>,
  importer: Importer | undefined,
): Promise<ReadonlyMap<unknown, string>> {
  const texts = new Set<string>()
  if (importer !== undefined) {
    for (const [column, node] of columns) {
      mapLeaves(node, cellOf(row, column), column, (_, value) => {
        if (typeof value === 'string' && importer.recognises(value)) texts.add(value)
      })
    }
  }
  const plain = new Map<unknown, string>()
  for (const text of texts) plain.set(text, await importer!.open(text))
  return plain
}
