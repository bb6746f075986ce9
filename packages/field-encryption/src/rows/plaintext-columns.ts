/**
 * Plaintext beside or in place of ciphertext, while a table with rows is moved to encryption: read until
 * an end date, and written as well, so that an older version of the app still finds it.
 */
import type { Clock } from '@parapet/kit'
import { SEALED_MARK } from '@parapet/kit'
import { callOption, checkCall } from '../call-options.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA,
  PARAPET_FIELD_ENCRYPTION_INVALID_VALUE,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
} from '../errors.ts'
import type { SchemaNode } from '../schema/compile-schema.ts'
import type { EncryptedField } from '../schema/encrypted.ts'
import type { ValueCodec } from '../schema/value-codecs.ts'
import type { Row } from './row-source.ts'
import { cellOf } from './table-indexes.ts'

/** The option `plaintext` of a table. */
export interface PlaintextOptions {
  /**
   * The column that holds the plaintext of an encrypted member, by member: `{ emailSealed: 'email' }`.
   * The member itself, `{ email: 'email' }`, where rows are encrypted in place.
   */
  readonly columns: Readonly<Record<string, string>>
  /** Rows that are not encrypted yet are read until then. @default they are refused */
  readonly readUntil?: Date
  /** Whether `encryptRecord` also writes the plaintext, for an older version of the app. @default true */
  readonly dualWrite?: boolean
}

const plaintextTable = {
  columns: callOption.object,
  readUntil: callOption.object,
  dualWrite: callOption.boolean,
}

/** The plaintext columns of one table. */
export class PlaintextColumns {
  /** The column of each member. */
  readonly columns: ReadonlyMap<string, string>
  readonly #fields = new Map<string, EncryptedField>()
  readonly #readUntil: number
  readonly #isDual: boolean
  readonly #now: () => number

  /** @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA */
  constructor(
    table: string,
    options: PlaintextOptions,
    shape: {
      readonly columns: ReadonlyMap<string, SchemaNode>
      readonly names: ReadonlySet<string>
    },
    clock: Pick<Clock, 'now'>,
  ) {
    const refuse = (problem: string): never => {
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(`table "${table}"`, problem)
    }
    checkCall<PlaintextOptions>('"plaintext"', options, plaintextTable)
    const { columns, readUntil, dualWrite = true } = options
    for (const [member, column] of Object.entries(columns)) {
      const node = shape.columns.get(member)
      if (node?.kind !== 'leaf')
        refuse(`"plaintext" names "${member}", which is no encrypted value`)
      else this.#fields.set(member, node.field)
      if (column !== member && shape.names.has(column)) {
        refuse(`the plaintext column "${column}" must not be a member of the schema`)
      }
    }
    const until = readUntil?.getTime() ?? -Infinity
    if (Number.isNaN(until)) refuse('"plaintext.readUntil" must be a valid Date')
    this.columns = new Map(Object.entries(columns))
    this.#readUntil = until
    this.#isDual = dualWrite
    this.#now = clock.now
  }

  /** The plaintext of a member that is not encrypted yet; `undefined` if it is, or has no value. */
  find(row: Row, member: string): unknown {
    const column = this.columns.get(member)
    if (column === undefined) return undefined
    const sealed = cellOf(row, member)
    if (column === member) return isSealed(sealed) ? undefined : (sealed ?? undefined)
    const isAdopted = sealed !== null && sealed !== undefined
    return isAdopted ? undefined : (cellOf(row, column) ?? undefined)
  }

  /** The value of a plaintext that {@link PlaintextColumns.find} has found. */
  adopt(member: string, plaintext: unknown): unknown {
    const { codec } = this.#fields.get(member)!
    const value = convert(codec, plaintext)
    if (value === undefined || codec.write(value) === undefined) {
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_VALUE(member, codec.expected)
    }
    return value
  }

  /** As {@link PlaintextColumns.adopt}. @throws PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND it is too late */
  read(member: string, plaintext: unknown): unknown {
    if (this.#now() >= this.#readUntil) throw new PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND(member)
    return this.adopt(member, plaintext)
  }

  /** Adds the plaintext columns to a row that is written. */
  write(record: Row, sealed: Record<string, unknown>): void {
    if (!this.#isDual) return
    for (const [member, column] of this.columns) {
      const value = cellOf(record, member)
      if (column !== member && value !== undefined) sealed[column] = value
    }
  }

  /** Removes the plaintext columns from a row that is read. */
  drop(row: Record<string, unknown>): void {
    for (const [member, column] of this.columns) if (column !== member) delete row[column]
  }
}

/** Without the option. */
export const noPlaintext = { columns: {} } as const satisfies PlaintextOptions

function isSealed(value: unknown): boolean {
  return typeof value === 'string' && value.startsWith(SEALED_MARK)
}

/** Converts what a driver returns, or the text of a value in PostgreSQL. */
function convert(codec: ValueCodec, plaintext: unknown): unknown {
  if (codec.write(plaintext) !== undefined && codec.name !== 'json') return plaintext
  try {
    if (typeof plaintext !== 'string') return convertScalar(codec, plaintext)
    if (codec.name === 'date') return new Date(plaintext)
    if (codec.name === 'bytes') return convertBytes(plaintext)
    return codec.read(plaintext)
  } catch {
    return undefined
  }
}

function convertScalar(codec: ValueCodec, plaintext: unknown): unknown {
  if (codec.name === 'json') return plaintext
  // MySQL and SQLite have no booleans.
  if (codec.name === 'boolean') return plaintext === 1 ? true : plaintext === 0 ? false : undefined
  const isNumber = typeof plaintext === 'number' || typeof plaintext === 'bigint'
  return isNumber ? codec.read(String(plaintext)) : undefined
}

/** A `bytea` as text: `\x0102`. */
function convertBytes(text: string): Uint8Array | undefined {
  return text.startsWith('\\x') ? new Uint8Array(Buffer.from(text.slice(2), 'hex')) : undefined
}
