/** The implementation of a table: finds the keys of its rows and seals and opens them. */
import type { Static, TObject } from '@sinclair/typebox'
import { columnsOf } from '../crypto/blind-index.ts'
import type { KeySource } from '../crypto/key-ring.ts'
import { PARAPET_FIELD_ENCRYPTION_NOT_INDEXED } from '../errors.ts'
import { compileTableSchema, type SchemaNode } from '../schema/compile-schema.ts'
import { maxCiphertextLength } from '../schema/plaintext.ts'
import { quoteName } from '../sql/identifiers.ts'
import { createTableSql, type TableSql } from '../sql/migration.ts'
import type { Row } from '../sql/row-source.ts'
import { cellOf, dropIndexColumns } from './index-columns.ts'
import { createRecordCipher, type RecordCipher } from './record-cipher.ts'
import { reencryptRows, type ReencryptOptions, type ReencryptProgress } from './reencrypt.ts'
import {
  refuseArgument,
  requirePlace,
  requireRing,
  RowLocator,
  type LocatedRow,
} from './row-places.ts'
import { measureTable, type StatusOptions, type TableStatus } from './table-status.ts'
import type {
  Condition,
  ReadScope,
  RecordScope,
  Table,
  TableOptions,
  WhereOptions,
} from './table.ts'

/** What {@link createTable} needs. */
export interface TablePorts {
  readonly keys: KeySource
  /** Whether subjects can have keys of their own. */
  readonly hasSubjects: boolean
  /** Whether no instance can still seal with a former key of the tenant. */
  readonly isSettled: (tenant: string) => Promise<boolean>
  /** Called with the number of opened values by column. */
  readonly onDecrypted: (table: string, counts: ReadonlyMap<string, number>) => void
  /** Called when rows could not be decrypted. */
  readonly onDenied: (table: string, error: unknown) => void
}

/** Which values are opened. */
interface OpenRequest {
  readonly roles: readonly string[] | null
  readonly only?: string
}

/**
 * Creates a {@link Table}.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA, PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
 */
export function createTable<T extends TObject>(
  name: string,
  schema: T,
  options: TableOptions,
  ports: TablePorts,
): Table<T> {
  return new EncryptedTable(name, schema, options, ports)
}

class EncryptedTable<T extends TObject> implements Table<T> {
  readonly name: string
  readonly sql: TableSql
  readonly #ports: TablePorts
  readonly #columns: ReadonlyMap<string, SchemaNode>
  readonly #memberNames: ReadonlySet<string>
  readonly #cipher: RecordCipher
  readonly #locator: RowLocator

  constructor(name: string, schema: T, options: TableOptions, ports: TablePorts) {
    const { id = 'id', tenant, subject, version = 1, readVersions = [] } = options
    const ids = typeof id === 'string' ? [id] : id
    this.name = name
    this.#ports = ports
    this.#columns = compileTableSchema(name, schema)
    this.#memberNames = new Set(Object.keys(schema.properties))
    const encrypted = [...ids, tenant, subject].find(
      (member) => member !== undefined && this.#columns.has(member),
    )
    if (encrypted !== undefined) {
      refuseArgument(`the member "${encrypted}"`, 'identifies the row, so it cannot be encrypted')
    }
    if (subject !== undefined && !ports.hasSubjects) {
      refuseArgument('"subject" of a table', 'needs the options provider and keyStore')
    }
    const versions = [version, ...readVersions].map(String)
    this.#cipher = createRecordCipher({ table: name, columns: this.#columns, versions })
    this.#locator = new RowLocator(ids, options, ports.keys)
    this.sql = createTableSql(name, this.#columns, ids)
  }

  async encryptRecord(record: Partial<Static<T>>, scope?: RecordScope) {
    return (await this.encryptMany([record], scope))[0]!
  }

  async encryptMany(records: readonly Partial<Static<T>>[], scope: RecordScope = {}) {
    const located = records.map((record) => {
      const unknown = Object.keys(record).find((each) => !this.#memberNames.has(each))
      if (unknown !== undefined) refuseArgument(`the member "${unknown}"`, 'is not in the schema')
      return this.#locator.locate(record, scope)
    })
    const places = await this.#locator.findPlaces(located, true)
    return located.map(({ row }, index) => this.#cipher.seal(row, requirePlace(places[index])))
  }

  async decryptRecord(row: object, scope?: ReadScope): Promise<Static<T>> {
    return (await this.decryptMany([row], scope))[0]!
  }

  async decryptMany(rows: readonly object[], scope: ReadScope = {}): Promise<Static<T>[]> {
    const opened = await this.#open(rows, scope, { roles: scope.roles ?? null })
    return opened
  }

  async decryptValue<C extends keyof Static<T> & string>(
    row: object,
    column: C,
    scope: RecordScope = {},
  ): Promise<Static<T>[C]> {
    if (!this.#columns.has(column)) refuseArgument(`the column "${column}"`, 'is not encrypted')
    const [opened] = await this.#open([row], scope, { roles: null, only: column })
    return cellOf(opened!, column) as Static<T>[C]
  }

  async where(column: string, value: unknown, options: WhereOptions = {}): Promise<Condition> {
    const { tenant = '', firstParameter = 1 } = options
    const node = this.#columns.get(column)
    const field = node?.kind === 'leaf' ? node.field : undefined
    const name = options.index ?? field?.indexes.keys().next().value
    const index = name === undefined ? undefined : field?.indexes.get(name)
    if (field === undefined || index === undefined || name === undefined) {
      throw new PARAPET_FIELD_ENCRYPTION_NOT_INDEXED(column)
    }
    const text = field.codec.write(value)
    if (text === undefined) {
      refuseArgument(`the value of "${column}"`, `must be ${field.codec.expected}`)
    }
    const [ring] = await this.#ports.keys.find([{ tenant, subject: null }], true)
    const { indexer } = requireRing(ring)
    const place = { tenant, table: this.name, column, name }
    const tokens = indexer.tokens(place, index, text).map(({ token }) => token)
    const condition = columnsOf(name, index).map(
      (each) => `${quoteName(each)} = ANY($${firstParameter})`,
    )
    return { text: `(${condition.join(' OR ')})`, values: [tokens] }
  }

  ciphertextLength(column: string, maxBytes?: number): number {
    const node = this.#columns.get(column)
    const length = node?.kind === 'leaf' ? maxCiphertextLength(node.field, maxBytes) : undefined
    if (length === undefined) {
      refuseArgument(
        `the column "${column}"`,
        'must be one encrypted value; text also needs a maxLength in its schema, or maxBytes',
      )
    }
    return length
  }

  reencrypt(options: ReencryptOptions): AsyncGenerator<ReencryptProgress> {
    return reencryptRows(options, {
      columns: this.#columns,
      cipher: this.#cipher,
      findPlaces: (rows) => this.#findPlaces(rows, options.tenant),
    })
  }

  async status(options: StatusOptions): Promise<TableStatus> {
    const { tenant = '' } = options
    const [ring] = await this.#ports.keys.find([{ tenant, subject: null }], true)
    return measureTable(options, {
      cipher: this.#cipher,
      keyset: requireRing(ring).aead.keyset,
      settled: await this.#ports.isSettled(tenant),
      findPlaces: (rows) => this.#findPlaces(rows, tenant),
    })
  }

  /** The places of stored rows. Keys that another instance has just created are loaded first. */
  async #findPlaces(rows: readonly Row[], tenant: string | undefined) {
    const scope = tenant === undefined ? {} : { tenant }
    const located = rows.map((row) => this.#locator.locate(row, scope))
    await this.#locator.refreshUnknownKeys(located, this.#cipher, true)
    return this.#locator.findPlaces(located, true, true)
  }

  async #open(
    rows: readonly object[],
    scope: ReadScope,
    request: OpenRequest,
  ): Promise<Record<string, unknown>[]> {
    try {
      const located = rows.map((row) => this.#locator.locate(row as Row, scope))
      const first = await this.#openLocated(located, scope, request).catch((error: unknown) => ({
        error,
      }))
      if (!('error' in first)) return first
      // If another instance has just created a key, load it and try once more.
      if (!(await this.#locator.refreshUnknownKeys(located, this.#cipher, false))) throw first.error
      return await this.#openLocated(located, scope, request)
    } catch (error) {
      this.#ports.onDenied(this.name, error)
      throw error
    }
  }

  async #openLocated(
    located: readonly LocatedRow[],
    { forgotten = 'throw' }: ReadScope,
    request: OpenRequest,
  ): Promise<Record<string, unknown>[]> {
    const places = await this.#locator.findPlaces(located, false, forgotten === 'withhold')
    const counts = new Map<string, number>()
    const count = (column: string) => void counts.set(column, (counts.get(column) ?? 0) + 1)
    const opened = located.map(({ row }, index) => {
      const place = places[index]!
      if (place === 'forgotten') return this.#withhold(row)
      return this.#cipher.open(row, requirePlace(place), request, count)
    })
    if (counts.size > 0) this.#ports.onDecrypted(this.name, counts)
    return opened
  }

  /** The row without its encrypted columns. */
  #withhold(row: Row): Record<string, unknown> {
    const rest: Record<string, unknown> = { ...row }
    for (const [column, node] of this.#columns) {
      delete rest[column]
      if (node.kind === 'leaf') dropIndexColumns(rest, node.field.indexes)
    }
    return rest
  }
}
