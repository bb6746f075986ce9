/** Seals and opens single values, bound to their cell: tenant, table, column path, row and schema version. */
import { SEALED_MARK } from '@parapet/kit'
import { parseCiphertext, type Aead } from '../crypto/aead.ts'
import { contextHead, joinContext } from '../crypto/field-context.ts'
import { LruMap } from '../crypto/lru-map.ts'
import {
  PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
} from '../errors.ts'
import type { EncryptedField } from '../schema/encrypted.ts'
import { readPlaintext, writePlaintext } from '../schema/plaintext.ts'

/** The row of a cell. */
export interface CellRow {
  readonly tenant: string
  readonly rowId: string
}

/** Context heads that are cached. Paths with an array index are not. */
const MAX_HEADS = 2000
/** Suffix of the schema version of a padded value. With it, padding is switched on or off without a migration. */
const PADDED = ';pad'

/** Seals and opens the values of one table. */
export class CellCipher {
  readonly #heads = new LruMap<string, Buffer>(MAX_HEADS)
  readonly #table: string
  readonly #versions: readonly string[]

  /** @param versions the schema version that is written, then those that are still read. */
  constructor(table: string, versions: readonly string[]) {
    this.#table = table
    this.#versions = versions
  }

  /**
   * Seals one value.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND, PARAPET_FIELD_ENCRYPTION_INVALID_VALUE,
   *   PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED
   */
  seal(field: EncryptedField, value: unknown, path: string, row: CellRow, aead: Aead): string {
    if (parseCiphertext(value) !== undefined) {
      throw new PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND(path)
    }
    const plaintext = writePlaintext(field.codec, value, field.padBytes, path)
    const version = this.#currentVersion(field)
    return aead.sealText(plaintext, this.#associatedData(row, path, version))
  }

  /**
   * Opens one value.
   *
   * @throws PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND, PARAPET_FIELD_ENCRYPTION_OPEN_FAILED
   */
  open(field: EncryptedField, value: unknown, path: string, row: CellRow, aead: Aead): unknown {
    if (typeof value !== 'string' || !value.startsWith(SEALED_MARK)) {
      throw new PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND(path)
    }
    const sealed = parseCiphertext(value)
    if (sealed === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    for (const version of this.#versions) {
      for (const isPadded of field.padBytes === 0 ? [false, true] : [true, false]) {
        const written = isPadded ? version + PADDED : version
        const plaintext = aead.tryOpen(sealed, this.#associatedData(row, path, written))
        if (plaintext !== undefined) return readPlaintext(field.codec, plaintext, isPadded)
      }
    }
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }

  /** Whether a sealed value was written under an older version of the schema that is still read. */
  isOlderVersion(
    field: EncryptedField,
    sealed: Buffer,
    path: string,
    row: CellRow,
    aead: Aead,
  ): boolean {
    if (this.#versions.length === 1) return false
    const context = this.#associatedData(row, path, this.#currentVersion(field))
    return aead.tryOpen(sealed, context) === undefined
  }

  #currentVersion({ padBytes }: EncryptedField): string {
    return this.#versions[0]! + (padBytes === 0 ? '' : PADDED)
  }

  #associatedData({ tenant, rowId }: CellRow, path: string, version: string): Buffer {
    return joinContext(this.#headOf(tenant, path), rowId, version)
  }

  #headOf(tenant: string, path: string): Buffer {
    if (path.includes('.')) return contextHead(tenant, this.#table, path)
    const name = `${path}.${tenant}`
    const known = this.#heads.get(name)
    if (known !== undefined) return known
    const head = contextHead(tenant, this.#table, path)
    this.#heads.set(name, head)
    return head
  }
}
