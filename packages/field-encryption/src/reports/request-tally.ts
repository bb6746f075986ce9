/** What one request has decrypted, and what of it its response masked. */
import type { SecurityEvents } from '@parapet/kit'
import type { EncryptedField } from '../schema/encrypted.ts'

/** The request of an event. Kit's type, so that the core does not import Fastify. */
export type EventRequest = NonNullable<Parameters<SecurityEvents['emit']>[2]>

/** The values of one column that were decrypted. */
export interface DecryptedColumn {
  readonly table: string
  readonly column: string
  readonly count: number
}

/** Opened values by field; a column of objects has several fields. */
export type OpenedFields = ReadonlyMap<EncryptedField, number>

/** The tally of one request. */
export class RequestTally {
  readonly request: EventRequest
  #opened: { table: string; column: string; field: EncryptedField; count: number }[] = []
  #masked: Map<EncryptedField, number> | undefined

  constructor(request: EventRequest) {
    this.request = request
  }

  /** Whether nothing was opened since {@link RequestTally.take}. */
  get isEmpty(): boolean {
    return this.#opened.length === 0
  }

  /** Adds the values of a column that were opened. */
  add(table: string, column: string, fields: OpenedFields): void {
    for (const [field, count] of fields) {
      const known = this.#opened.find(
        (each) => each.field === field && each.column === column && each.table === table,
      )
      if (known === undefined) this.#opened.push({ table, column, field, count })
      else known.count += count
    }
  }

  /** A value of this field left the service masked, or not at all. */
  mask(field: EncryptedField): void {
    this.#masked ??= new Map()
    this.#masked.set(field, (this.#masked.get(field) ?? 0) + 1)
  }

  /** The columns whose values did not only leave masked. The tally begins again. */
  take(): DecryptedColumn[] {
    if (this.#opened.length === 0) return []
    const columns = new Map<string, { table: string; column: string; count: number }>()
    for (const { table, column, field, count } of this.#opened) {
      const name = `${table}.${column}`
      const known = columns.get(name) ?? { table, column, count: 0 }
      columns.set(name, known)
      known.count += count - this.#takeMasked(field, count)
    }
    this.#opened = []
    this.#masked = undefined
    return [...columns.values()].filter(({ count }) => count > 0)
  }

  #takeMasked(field: EncryptedField, most: number): number {
    const masked = this.#masked?.get(field) ?? 0
    const taken = Math.min(masked, most)
    if (taken > 0) this.#masked!.set(field, masked - taken)
    return taken
  }
}
