/** Opens stored rows: finds their keys, decrypts them, and reports what was opened and what was not. */
import type { Row } from './row-source.ts'
import { OpenedValues } from './opened-values.ts'
import type { OpenRequest, RecordCipher } from './record-cipher.ts'
import { requirePlace, type LocatedRow, type RowLocator } from './row-places.ts'
import type { TableShape } from './table-shape.ts'
import type { ReadScope } from './table-options.ts'

/** Receives what a table has opened. */
interface OpenReports {
  opened(table: string, columns: OpenedValues['columns']): void
  denied(table: string, error: unknown): void
}

/** What {@link RowOpener} needs. */
export interface RowOpenerPorts {
  readonly shape: TableShape
  readonly cipher: RecordCipher
  readonly locator: RowLocator
  readonly reports: OpenReports
}

/** The outcome of one attempt. */
interface Opened {
  readonly rows: Record<string, unknown>[]
  readonly values: OpenedValues
  /** The errors of values that were left out. */
  readonly unreadable: readonly unknown[]
}

/** Opens the rows of one table. */
export class RowOpener {
  readonly #ports: RowOpenerPorts

  constructor(ports: RowOpenerPorts) {
    this.#ports = ports
  }

  /** Opens rows. @param only opens this column only, also if its reveal is `'never'` */
  async open(
    rows: readonly object[],
    scope: ReadScope,
    only?: string,
  ): Promise<Record<string, unknown>[]> {
    const { locator, reports, shape } = this.#ports
    try {
      const located = rows.map((row) => locator.locate(row as Row, scope))
      const { rows: opened, values, unreadable } = await this.#openLocated(located, scope, only)
      if (values.columns.size > 0) reports.opened(shape.table, values.columns)
      for (const error of unreadable) reports.denied(shape.table, error)
      return opened
    } catch (error) {
      reports.denied(shape.table, error)
      throw error
    }
  }

  async #openLocated(
    located: readonly LocatedRow[],
    scope: ReadScope,
    only: string | undefined,
  ): Promise<Opened> {
    const { locator, cipher } = this.#ports
    const first = await this.#attempt(located, scope, only).catch((error: unknown) => ({ error }))
    if (!('error' in first) && first.unreadable.length === 0) return first
    // If another instance has just created a key, load it and try once more.
    if (await locator.refreshUnknownKeys(located, cipher, false)) {
      return this.#attempt(located, scope, only)
    }
    if ('error' in first) throw first.error
    return first
  }

  async #attempt(
    located: readonly LocatedRow[],
    scope: ReadScope,
    only: string | undefined,
  ): Promise<Opened> {
    const { locator, cipher } = this.#ports
    const { forgotten = 'throw', unreadable = 'throw' } = scope
    const places = await locator.findPlaces(
      located,
      false,
      forgotten === 'withhold' ? 'forgotten' : 'none',
    )
    const values = new OpenedValues()
    const errors: unknown[] = []
    const request: OpenRequest = {
      roles: only === undefined ? (scope.roles ?? null) : null,
      ...(only !== undefined && { only }),
      ...(unreadable === 'withhold' && { onUnreadable: (error) => errors.push(error) }),
    }
    const rows = located.map(({ row }, index) => {
      const place = places[index]!
      if (place === 'forgotten') return this.#withhold(row)
      return cipher.open(row, requirePlace(place), request, values.count)
    })
    return { rows, values, unreadable: errors }
  }

  /** The row without its encrypted columns. */
  #withhold(row: Row): Record<string, unknown> {
    const { columns, indexes, plaintext } = this.#ports.shape
    const rest: Record<string, unknown> = { ...row }
    for (const column of columns.keys()) delete rest[column]
    indexes.drop(rest)
    plaintext.drop(rest)
    return rest
  }
}
