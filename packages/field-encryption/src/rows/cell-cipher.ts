/** Seals and opens single values, bound to their cell: tenant, table, column path, row and schema version. */
import { keyIdOf, SEALED_MARK } from '@parapet/kit'
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
import { codecs, type ValueCodec } from '../schema/value-codecs.ts'

/** The row of a cell. */
export interface CellRow {
  readonly tenant: string
  readonly rowId: string
  /** Other spellings of the id, under which earlier versions may have sealed the cell. */
  readonly formerRowIds: () => readonly string[]
}

/** Context heads that are cached. Paths with an array index are not. */
const MAX_HEADS = 2000
/** Ends the version of a padded value. With it, padding is switched on or off without a migration. */
const PADDED = ';pad'

/** A version that a value may have been written under. */
interface WrittenVersion {
  /** `1;text;pad`; without the codec in values of earlier releases. */
  readonly text: string
  readonly codec: ValueCodec | undefined
  readonly isPadded: boolean
}

/** Seals and opens the values of one table. */
export class CellCipher {
  readonly #heads = new LruMap<string, Buffer>(MAX_HEADS)
  readonly #table: string
  readonly #versions: readonly string[]
  readonly #written = new Map<EncryptedField, readonly WrittenVersion[]>()

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
    const plaintext = writePlaintext(field, value, path)
    const { text } = this.#versionsOf(field)[0]!
    return aead.sealText(plaintext, this.#associatedData(row, path, text))
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
    if (sealed === undefined || !aead.hasKey(keyIdOf(sealed))) {
      throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    }
    const found = this.#find(field, sealed, path, row, aead)
    if (found === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
    const { plaintext, isPadded, codec } = found
    return readPlaintext(field, plaintext, isPadded, codec)
  }

  /** Whether a sealed value was written under another version, type, padding or spelling than today's. */
  isOlderVersion(
    field: EncryptedField,
    sealed: Buffer,
    path: string,
    row: CellRow,
    aead: Aead,
  ): boolean {
    // Damaged: sealing it again is impossible, and it must not hold up the end of a rotation.
    return this.#find(field, sealed, path, row, aead)?.isOlder === true
  }

  #find(field: EncryptedField, sealed: Buffer, path: string, row: CellRow, aead: Aead) {
    const found = this.#tryVersions(field, sealed, path, row, aead)
    if (found !== undefined) return found
    for (const rowId of row.formerRowIds()) {
      const former = this.#tryVersions(field, sealed, path, { ...row, rowId }, aead)
      if (former !== undefined) return { ...former, isOlder: true }
    }
    return undefined
  }

  #tryVersions(field: EncryptedField, sealed: Buffer, path: string, row: CellRow, aead: Aead) {
    for (const [index, { text, codec, isPadded }] of this.#versionsOf(field).entries()) {
      const plaintext = aead.tryOpen(sealed, this.#associatedData(row, path, text))
      if (plaintext !== undefined) return { plaintext, codec, isPadded, isOlder: index > 0 }
    }
    return undefined
  }

  /** The versions of a field that are read, the one that is written first. */
  #versionsOf(field: EncryptedField): readonly WrittenVersion[] {
    const known = this.#written.get(field)
    if (known !== undefined) return known
    const others = Object.values(codecs).filter((codec) => codec !== field.codec)
    // Likely ones first: each attempt costs a decryption.
    const written = [field.codec, undefined, ...others].flatMap((codec) =>
      this.#versions.flatMap((version) => {
        const plain = codec === undefined ? version : `${version};${codec.name}`
        const both = [
          { text: plain, codec, isPadded: false },
          { text: plain + PADDED, codec, isPadded: true },
        ]
        return field.padBytes === 0 ? both : both.toReversed()
      }),
    )
    this.#written.set(field, written)
    return written
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
