/** The table itself: finds whose keys a row needs, and lets the record cipher do the rest. */
import type { Static, TObject } from '@sinclair/typebox'
import { keyIdOf } from './aead.ts'
import { refuse, textOf } from './arguments.ts'
import { columnsOf } from './blind-index.ts'
import {
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_NOT_INDEXED,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
} from './errors.ts'
import type { FoundRing, KeyRing, KeySource } from './key-ring.ts'
import {
  cellOf,
  createRecordCipher,
  dropIndexes,
  type RecordCipher,
  type Row,
  type RowPlace,
} from './record-cipher.ts'
import { reencryptRows, type ReencryptOptions, type ReencryptProgress } from './reencrypt.ts'
import { compileTableSchema, type SchemaNode } from './schema.ts'
import { createTableSql, lengthOf, quote, type TableSql } from './sql.ts'
import type {
  Condition,
  ReadScope,
  RecordScope,
  Table,
  TableOptions,
  WhereOptions,
} from './table.ts'
import { measureTable, type StatusOptions, type TableStatus } from './table-status.ts'

/** What a table stands on. */
export interface TablePorts {
  readonly keys: KeySource
  /** Whether subjects have keys of their own here. */
  readonly hasSubjects: boolean
  /** Whether no instance can still seal with a former key of the tenant. */
  readonly isSettled: (tenant: string) => Promise<boolean>
  readonly onDecrypted: (table: string, counts: ReadonlyMap<string, number>) => void
  readonly onDenied: (table: string, error: unknown) => void
}

/** A row and where it belongs, before its keys are at hand. */
interface Located {
  readonly row: Row
  readonly tenant: string
  readonly rowId: string
  readonly subject: string | null
}

/** Makes a {@link Table}. @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA */
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
  readonly #options: TableOptions
  readonly #ports: TablePorts
  readonly #columns: ReadonlyMap<string, SchemaNode>
  readonly #known: ReadonlySet<string>
  readonly #cipher: RecordCipher
  readonly #ids: readonly string[]

  constructor(name: string, schema: T, options: TableOptions, ports: TablePorts) {
    const { id = 'id', version = 1, readVersions = [] } = options
    this.name = name
    this.#options = options
    this.#ports = ports
    this.#columns = compileTableSchema(name, schema)
    this.#known = new Set(Object.keys(schema.properties))
    this.#ids = typeof id === 'string' ? [id] : id
    const named = [...this.#ids, options.tenant, options.subject].filter(
      (each) => each !== undefined,
    )
    const sealed = named.find((each) => this.#columns.has(each))
    if (sealed !== undefined) refuse(`"${sealed}"`, 'names the row and cannot be encrypted')
    if (options.subject !== undefined && !ports.hasSubjects) {
      refuse('a subject', 'needs the options provider and keyStore')
    }
    const versions = [version, ...readVersions].map(String)
    this.#cipher = createRecordCipher({ table: name, columns: this.#columns, versions })
    this.sql = createTableSql(name, this.#columns, this.#ids)
  }

  async encryptRecord(record: Partial<Static<T>>, scope?: RecordScope) {
    return (await this.encryptMany([record], scope))[0]!
  }

  async encryptMany(records: readonly Partial<Static<T>>[], scope: RecordScope = {}) {
    const located = records.map((record) => {
      const unknown = Object.keys(record).find((each) => !this.#known.has(each))
      if (unknown !== undefined) refuse(`the member "${unknown}"`, 'is not in the schema')
      return this.#locate(record, scope)
    })
    const places = await this.#placesOf(located, true)
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
    if (!this.#columns.has(column)) refuse(`the column "${column}"`, 'is not encrypted')
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
    if (text === undefined) refuse('the value', `must be ${field.codec.expected}`)
    const [ring] = await this.#ports.keys.find([{ tenant, subject: null }], true)
    const { indexer } = requireRing(ring)
    const place = { tenant, table: this.name, column, name }
    const tokens = indexer.tokens(place, index, text).map(({ token }) => token)
    const condition = columnsOf(name, index).map(
      (each) => `${quote(each)} = ANY($${firstParameter})`,
    )
    return { text: `(${condition.join(' OR ')})`, values: [tokens] }
  }

  ciphertextLength(column: string, maxBytes?: number): number {
    const node = this.#columns.get(column)
    const length = node?.kind === 'leaf' ? lengthOf(node.field, maxBytes) : undefined
    if (length === undefined) {
      refuse(`the column "${column}"`, 'must be one encrypted value whose schema has a maxLength')
    }
    return length
  }

  reencrypt(options: ReencryptOptions): AsyncGenerator<ReencryptProgress> {
    return reencryptRows(options, {
      columns: this.#columns,
      cipher: this.#cipher,
      places: (rows, learn) => this.#rowPlaces(rows, options.tenant, learn),
    })
  }

  async status(options: StatusOptions): Promise<TableStatus> {
    const { tenant = '' } = options
    const [ring] = await this.#ports.keys.find([{ tenant, subject: null }], true)
    return measureTable(options, {
      cipher: this.#cipher,
      keyset: requireRing(ring).aead.keyset,
      settled: await this.#ports.isSettled(tenant),
      places: (rows) => this.#rowPlaces(rows, tenant, true),
    })
  }

  /** The places of stored rows; with `learn`, keys that another instance made are read first. */
  async #rowPlaces(rows: readonly Row[], tenant: string | undefined, learn: boolean) {
    const scope = tenant === undefined ? {} : { tenant }
    const located = rows.map((row) => this.#locate(row, scope))
    if (learn) await this.#learnKeys(located, true)
    return this.#placesOf(located, true, true)
  }

  async #open(
    rows: readonly object[],
    scope: ReadScope,
    request: { readonly roles: readonly string[] | null; readonly only?: string },
  ): Promise<Record<string, unknown>[]> {
    try {
      const located = rows.map((row) => this.#locate(row as Row, scope))
      const first = await this.#openAll(located, scope, request).catch((error: unknown) => ({
        error,
      }))
      if (!('error' in first)) return first
      // A key made by another instance a moment ago is read, once, before this counts as a failure.
      if (!(await this.#learnKeys(located, false))) throw first.error
      return await this.#openAll(located, scope, request)
    } catch (error) {
      this.#ports.onDenied(this.name, error)
      throw error
    }
  }

  async #openAll(
    located: readonly Located[],
    { forgotten = 'throw' }: ReadScope,
    request: { readonly roles: readonly string[] | null; readonly only?: string },
  ): Promise<Record<string, unknown>[]> {
    const places = await this.#placesOf(located, false, forgotten === 'withhold')
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

  #withhold(row: Row): Record<string, unknown> {
    const rest: Record<string, unknown> = { ...row }
    for (const [column, node] of this.#columns) {
      delete rest[column]
      if (node.kind === 'leaf') dropIndexes(rest, node.field.indexes)
    }
    return rest
  }

  /** Reads the keys of rows anew where an envelope names one that is not known. */
  async #learnKeys(located: readonly Located[], create: boolean): Promise<boolean> {
    const places = await this.#placesOf(located, create, true)
    let learned = false
    for (const [index, { row, tenant, subject }] of located.entries()) {
      const place = places[index]
      if (place === undefined || place === 'forgotten') continue
      for (const { envelope } of this.#cipher.inspect(row)) {
        if (envelope === undefined || place.ring.aead.knows(keyIdOf(envelope))) continue
        learned = this.#ports.keys.refresh({ tenant, subject }, keyIdOf(envelope)) || learned
      }
    }
    return learned
  }

  #locate(row: Row, scope: RecordScope): Located {
    const { tenant: tenantMember, subject: subjectMember } = this.#options
    const stated = tenantMember === undefined ? undefined : row[tenantMember]
    if (tenantMember !== undefined && stated === undefined && scope.tenant === undefined) {
      refuse(`the member "${tenantMember}"`, 'must hold the tenant of the row')
    }
    if (
      stated !== undefined &&
      scope.tenant !== undefined &&
      textOf(stated, 'the tenant') !== scope.tenant
    ) {
      refuse('the tenant', 'is another than that of the row')
    }
    const tenant = stated === undefined ? (scope.tenant ?? '') : textOf(stated, 'the tenant')
    const ids = this.#ids.map((member) => textOf(row[member], `the member "${member}"`))
    return {
      row,
      tenant,
      // One name has one spelling; several are told apart by their quotes.
      rowId: ids.length === 1 ? ids[0]! : JSON.stringify(ids),
      subject:
        subjectMember === undefined
          ? null
          : textOf(row[subjectMember], `the member "${subjectMember}"`),
    }
  }

  async #placesOf(
    located: readonly Located[],
    create: boolean,
    allowForgotten = false,
  ): Promise<(RowPlace | 'forgotten')[]> {
    const scopes = located.flatMap(({ tenant, subject }) => [
      { tenant, subject: null },
      { tenant, subject },
    ])
    const rings = await this.#ports.keys.find(scopes, create)
    return located.map(({ tenant, rowId }, index) => {
      const ring = rings[2 * index + 1]
      if (ring === 'forgotten' && allowForgotten) return 'forgotten'
      const indexRing = requireRing(rings[2 * index])
      return { tenant, rowId, ring: requireRing(ring), indexRing }
    })
  }
}

function requirePlace(place: RowPlace | 'forgotten' | undefined): RowPlace {
  if (place === 'forgotten') throw new PARAPET_FIELD_ENCRYPTION_FORGOTTEN()
  return place!
}

function requireRing(ring: FoundRing | undefined): KeyRing {
  if (ring === 'forgotten') throw new PARAPET_FIELD_ENCRYPTION_FORGOTTEN()
  // No keys were ever made: whatever this is, it was not sealed here.
  if (ring === null || ring === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  return ring
}
