/** Counts the values that are opened while rows are decrypted, by column and field. */
import type { EncryptedField } from '../schema/encrypted.ts'

/** Called for each value that is opened. */
export type CountOpened = (column: string, field: EncryptedField) => void

/** The values that one call has opened. */
export class OpenedValues {
  readonly columns = new Map<string, Map<EncryptedField, number>>()

  readonly count: CountOpened = (column, field) => {
    const fields = this.columns.get(column) ?? new Map<EncryptedField, number>()
    this.columns.set(column, fields)
    fields.set(field, (fields.get(field) ?? 0) + 1)
  }
}
