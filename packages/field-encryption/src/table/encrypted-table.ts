/** The implementation of a table: finds the keys of its rows and seals and opens them. */
import type { Clock } from '@parapet/kit'
import { checkCall } from '../call-options.ts'
import type { KeySource } from '../key-ring/key-ring.ts'
import type { DecryptionReports } from '../reports/decryption-reports.ts'
import { maxCiphertextLength } from '../schema/plaintext.ts'
import type { ObjectSchema, StaticOf } from '../schema/schema-types.ts'
import { createTableSql, type TableSql } from '../sql/migration.ts'
import { RecordCipher } from '../rows/record-cipher.ts'
import {
  reencryptTable,
  startReencryption,
  type ReencryptOptions,
  type ReencryptRun,
} from '../reencryption/reencrypt-run.ts'
import { RowOpener } from '../rows/row-opener.ts'
import { refuseArgument, requirePlace, requireRing, RowLocator } from '../rows/row-places.ts'
import { cellOf, type TableIndex } from '../rows/table-indexes.ts'
import {
  readReadScope,
  readRecordScope,
  type ReadScope,
  type RecordScope,
  type TableOptions,
} from '../rows/table-options.ts'
import { requireKnownMembers } from '../rows/known-members.ts'
import { compileTable, type TableShape } from '../rows/table-shape.ts'
import {
  measureTable,
  statusTable,
  type StatusOptions,
  type TableStatus,
} from '../reencryption/table-status.ts'
import type { Condition, EncryptedColumn, IndexLeakage, Table, WhereOptions } from './table.ts'
import { conditionOf, findIndex, NO_TOKEN, prepareSearch, whereTable } from './where.ts'

/** What {@link createTable} needs. */
export interface TablePorts {
  readonly keys: KeySource
  /** Whether subjects can have keys of their own. */
  readonly hasSubjects: boolean
  /** Whether no instance can still seal with a former key of the tenant. */
  readonly isSettled: (tenant: string) => Promise<boolean>
  /** Told what was opened, and what could not be. */
  readonly reports: Pick<DecryptionReports, 'opened' | 'denied'>
  readonly clock: Pick<Clock, 'now'>
}

/**
 * Creates a {@link Table}.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA, PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
 */
export function createTable<T extends ObjectSchema>(
  name: string,
  schema: T,
  options: TableOptions,
  ports: TablePorts,
): Table<T> {
  return new EncryptedTable(compileTable(name, schema, options, ports), options, ports)
}

class EncryptedTable<T extends ObjectSchema> implements Table<T> {
  readonly name: string
  readonly sql: TableSql
  readonly columns: readonly EncryptedColumn[]
  readonly identity: readonly string[]
  readonly leakage: readonly IndexLeakage[]
  readonly #options: TableOptions
  readonly #ports: TablePorts
  readonly #shape: TableShape
  readonly #cipher: RecordCipher
  readonly #locator: RowLocator
  readonly #opener: RowOpener

  constructor(shape: TableShape, options: TableOptions, ports: TablePorts) {
    this.name = shape.table
    this.#options = options
    this.#ports = ports
    this.#shape = shape
    this.#cipher = new RecordCipher(shape)
    this.#locator = new RowLocator(shape.bind, options, ports.keys)
    const [cipher, locator] = [this.#cipher, this.#locator]
    this.#opener = new RowOpener({ shape, cipher, locator, reports: ports.reports })
    this.sql = createTableSql(shape.layout)
    this.columns = Object.freeze(columnsOfTable(shape))
    this.identity = Object.freeze([...shape.layout.ids, ...shape.layout.identity])
    this.leakage = Object.freeze(shape.indexes.list.map(leakageOf))
  }

  async encryptRecord(record: Partial<StaticOf<T>>, scope?: RecordScope) {
    return (await this.encryptMany([record], scope))[0]!
  }

  async encryptMany(records: readonly Partial<StaticOf<T>>[], given?: RecordScope) {
    const { root, plaintext } = this.#shape
    const scope = readRecordScope('encryptRecord', given)
    const located = records.map((record) => {
      requireKnownMembers(root, record, '')
      return this.#locator.locate(record, scope)
    })
    const places = await this.#locator.findPlaces(located, true)
    return located.map(({ row }, index) => {
      const sealed = this.#cipher.seal(row, requirePlace(places[index]))
      plaintext.write(row, sealed)
      return sealed
    })
  }

  async decryptRecord(row: object, scope?: ReadScope): Promise<StaticOf<T>> {
    return (await this.decryptMany([row], scope))[0]!
  }

  async decryptMany(rows: readonly object[], scope?: ReadScope): Promise<StaticOf<T>[]> {
    const read = readReadScope('decryptRecord', scope)
    return (await this.#opener.open(rows, read)) as StaticOf<T>[]
  }

  async decryptValue<C extends keyof StaticOf<T> & string>(
    row: object,
    column: C,
    given?: RecordScope,
  ): Promise<StaticOf<T>[C]> {
    const scope = readRecordScope('decryptValue', given)
    if (!this.#shape.columns.has(column)) {
      refuseArgument(`the column "${column}"`, 'is not encrypted')
    }
    const [opened] = await this.#opener.open([row], scope, column)
    return cellOf(opened!, column) as StaticOf<T>[C]
  }

  async where(column: string, value: unknown, options: WhereOptions = {}): Promise<Condition> {
    return this.whereAll({ [column]: value }, options)
  }

  async whereAll(
    values: Readonly<Record<string, unknown>>,
    options: WhereOptions = {},
  ): Promise<Condition> {
    checkCall<WhereOptions>('where', options, whereTable)
    const { tenant = '', firstParameter = 1, index, dialect = 'postgres' } = options
    const { indexes } = this.#shape
    const entry = findIndex(indexes, Object.keys(values), index)
    if (this.#options.tenant !== undefined && options.tenant === undefined) {
      refuseArgument('the tenant', 'must be given to search this table: where(…, { tenant })')
    }
    const search = prepareSearch(indexes, entry, values, tenant)
    // A search creates no keys: without a keyset no row has a token.
    const [ring] = await this.#ports.keys.find([{ tenant, subject: null }], false)
    const tokens = ring === null ? [NO_TOKEN] : search(requireRing(ring).indexer)
    return conditionOf(entry, tokens, dialect, firstParameter)
  }

  ciphertextLength(column: string, maxBytes?: number): number {
    const node = this.#shape.columns.get(column)
    const length = node?.kind === 'leaf' ? maxCiphertextLength(node.field, maxBytes) : undefined
    if (length === undefined) {
      refuseArgument(
        `the column "${column}"`,
        'must be one encrypted value; text also needs a maxLength in its schema, or maxBytes',
      )
    }
    return length
  }

  reencrypt(options: ReencryptOptions): ReencryptRun {
    checkCall<ReencryptOptions>('reencrypt', options, reencryptTable)
    return startReencryption(options, {
      shape: this.#shape,
      cipher: this.#cipher,
      findPlaces: (rows) => this.#locator.findStored(rows, options.tenant, this.#cipher, true),
    })
  }

  async status(options: StatusOptions): Promise<TableStatus> {
    checkCall<StatusOptions>('status', options, statusTable)
    const { tenant = '' } = options
    const [ring] = await this.#ports.keys.find([{ tenant, subject: null }], false)
    return measureTable(options, {
      cipher: this.#cipher,
      keyset: ring === null ? null : requireRing(ring).aead.keyset,
      settled: await this.#ports.isSettled(tenant),
      findPlaces: (rows) => this.#locator.findStored(rows, options.tenant, this.#cipher, false),
    })
  }
}

function columnsOfTable({ columns, indexes }: TableShape): EncryptedColumn[] {
  const members = [...columns].map(([name, { kind }]): EncryptedColumn => {
    return { name, type: kind === 'leaf' ? 'text' : 'jsonb' }
  })
  return [...members, ...indexes.columns.map((name) => ({ name, type: 'text' as const }))]
}

function leakageOf({ name, index, members }: TableIndex): IndexLeakage {
  return Object.freeze({
    index: name,
    members: members.map((member) => member.name),
    reveals: index.prefix > 0 ? 'equal prefixes' : 'equal values',
    bits: index.bits,
  })
}
