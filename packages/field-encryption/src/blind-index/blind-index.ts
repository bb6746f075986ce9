/**
 * Blind indexes: equality search over encrypted values by a keyed hash (a token) in its own column.
 *
 * A token reveals which rows have equal values, and nothing else. Fewer bits reveal less and cause a
 * few false matches, which the caller drops after decryption.
 */
import { createHmac, hkdfSync } from 'node:crypto'
import { encodeContext } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'
import type { Keyset, KeysetKey } from './keyset.ts'
import { LruMap } from './lru-map.ts'

const normalizers = {
  /** One spelling for texts that look the same. @see Unicode Standard Annex 15 */
  nfkc: (text: string) => text.normalize('NFKC'),
  lower: (text: string) => text.toLowerCase(),
  trim: (text: string) => text.trim(),
  /** Keeps the ASCII digits only, for telephone and card numbers. */
  digits: (text: string) => text.replaceAll(/[^0-9]/g, ''),
}

/** A step that changes a text before it is hashed. */
export type Normalizer = keyof typeof normalizers

/** The options of {@link blind}. */
export interface BlindIndexOptions {
  /** Applied in this order. @default none: texts are equal if their bytes are */
  readonly normalize?: readonly Normalizer[]
  /** Length of a token, 8 to 256 bits; at least 128 with `unique`. @default 64, or 256 with `unique` */
  readonly bits?: number
  /**
   * No two rows of a tenant may have the same value. The index has two columns, `<name>_a` and
   * `<name>_b`, each with a UNIQUE constraint, so that uniqueness holds while keys rotate.
   * @default false
   */
  readonly unique?: boolean
}

/** A validated blind index. Frozen. */
export interface BlindIndex {
  readonly normalize: readonly Normalizer[]
  readonly bits: number
  readonly unique: boolean
}

const MIN_BITS = 8
const MAX_BITS = 256
const MIN_UNIQUE_BITS = 128
const KEY_BYTES = 32
/** Derived keys that are cached, one for each column, tenant and key. */
const MAX_DERIVED = 2000

/** Declares a blind index. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
export function blind(options: BlindIndexOptions = {}): BlindIndex {
  const { normalize = [], unique = false, bits = unique ? MAX_BITS : 64 } = options
  const least = unique ? MIN_UNIQUE_BITS : MIN_BITS
  if (!Number.isInteger(bits) || bits < least || bits > MAX_BITS) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      '"bits" of a blind index',
      `must be an integer from ${least} to ${MAX_BITS}, got ${String(bits)}`,
    )
  }
  for (const name of normalize) {
    if (!Object.hasOwn(normalizers, name)) {
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
        '"normalize" of a blind index',
        `must list only ${Object.keys(normalizers).join(', ')}; got "${name}"`,
      )
    }
  }
  return Object.freeze({ normalize: Object.freeze([...normalize]), bits, unique })
}

/** The columns of an index. */
export function columnsOf(name: string, { unique }: BlindIndex): readonly string[] {
  return unique ? [`${name}_a`, `${name}_b`] : [name]
}

/** The column that holds the tokens of one key. In a unique index the parity of the key id decides. */
export function columnOfKey(name: string, { unique }: BlindIndex, keyId: number): string {
  return unique ? `${name}_${keyId % 2 === 0 ? 'a' : 'b'}` : name
}

/** Identifies an index. Each index has its own derived keys. */
interface IndexPlace {
  readonly tenant: string
  readonly table: string
  readonly column: string
  readonly name: string
}

/** A token and the id of its key. */
interface IndexToken {
  readonly keyId: number
  /** Lower-case hexadecimal. */
  readonly token: string
}

/** Computes the tokens of values under a keyset. */
export interface Indexer {
  /** Returns one token for each enabled key, the primary key's first. */
  tokens(place: IndexPlace, index: BlindIndex, text: string): IndexToken[]
}

/** Creates an {@link Indexer}. The key of each index is derived from each key of the keyset by HKDF. */
export function createIndexer(keyset: Keyset): Indexer {
  const keys = keyset.keys
    .filter(({ status }) => status === 'enabled')
    .toSorted((a, b) => Number(b.id === keyset.primaryKeyId) - Number(a.id === keyset.primaryKeyId))
  const derived = new LruMap<string, Buffer>(MAX_DERIVED)

  function deriveKey({ id, secret }: KeysetKey, info: Buffer): Buffer {
    const name = `${id}:${info.toString('latin1')}`
    const known = derived.get(name)
    if (known !== undefined) return known
    const key = Buffer.from(hkdfSync('sha256', secret!, Buffer.alloc(0), info, KEY_BYTES))
    derived.set(name, key)
    return key
  }

  return {
    tokens({ tenant, table, column, name }, index, text) {
      const normal = index.normalize.reduce((value, step) => normalizers[step](value), text)
      const info = encodeContext(['fe-index1', tenant, table, column, name])
      return keys.map((key) => {
        const hash = createHmac('sha256', deriveKey(key, info)).update(normal, 'utf8').digest()
        return { keyId: key.id, token: truncate(hash, index.bits) }
      })
    },
  }
}

/** Keeps the first `bits` bits; the remaining bits of the last byte are zero. */
function truncate(hash: Buffer, bits: number): string {
  const bytes = hash.subarray(0, Math.ceil(bits / 8))
  const rest = bits % 8
  if (rest !== 0) bytes[bytes.length - 1]! &= 0xff << (8 - rest)
  return bytes.toString('hex')
}
