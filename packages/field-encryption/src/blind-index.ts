/**
 * Blind indexes: equality search over what is encrypted, by a keyed hash in a column beside it.
 *
 * A token tells which rows are equal, and nothing else; fewer bits make it tell less, at the price
 * of a few false matches that the caller drops after decryption.
 */
import { createHmac, hkdfSync } from 'node:crypto'
import { encodeContext } from '@parapet/kit'
import { BoundedMap } from './bounded-map.ts'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from './errors.ts'
import type { Keyset, KeysetKey } from './keyset.ts'

const normalizers = {
  /** One spelling of what looks the same. @see Unicode Standard Annex 15 */
  nfkc: (text: string) => text.normalize('NFKC'),
  lower: (text: string) => text.toLowerCase(),
  trim: (text: string) => text.trim(),
  /** The decimal digits alone, for telephone and card numbers. */
  digits: (text: string) => text.replaceAll(/[^0-9]/g, ''),
}

/** What is done to a text before it is hashed, in the order given. */
export type Normalizer = keyof typeof normalizers

/** What {@link blind} takes. */
export interface BlindIndexOptions {
  /** @default none: equal means equal to the byte */
  readonly normalize?: readonly Normalizer[]
  /** Length of a token, 8 to 256 bits; at least 128 with `unique`. @default 64, or 256 with `unique` */
  readonly bits?: number
  /**
   * No two rows of a tenant have the same value. It takes two columns, `<name>_a` and `<name>_b`, each
   * with a UNIQUE constraint, so that it holds while keys rotate. @default false
   */
  readonly unique?: boolean
}

/** A blind index, read and checked. */
export interface BlindIndex {
  readonly normalize: readonly Normalizer[]
  readonly bits: number
  readonly unique: boolean
}

const MIN_BITS = 8
const MAX_BITS = 256
const MIN_UNIQUE_BITS = 128
const KEY_BYTES = 32
/** Keys are derived once for each column; this many columns and tenants stay ready. */
const MAX_DERIVED = 2000

/** Describes a blind index. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
export function blind(options: BlindIndexOptions = {}): BlindIndex {
  const { normalize = [], unique = false, bits = unique ? MAX_BITS : 64 } = options
  const least = unique ? MIN_UNIQUE_BITS : MIN_BITS
  if (!Number.isInteger(bits) || bits < least || bits > MAX_BITS) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT('bits', `must be ${least} to ${MAX_BITS}`)
  }
  for (const name of normalize) {
    if (!Object.hasOwn(normalizers, name)) {
      const known = Object.keys(normalizers).join(', ')
      throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT('normalize', `must be out of ${known}`)
    }
  }
  return Object.freeze({ normalize: Object.freeze([...normalize]), bits, unique })
}

/** The columns of an index. */
export function columnsOf(name: string, { unique }: BlindIndex): readonly string[] {
  return unique ? [`${name}_a`, `${name}_b`] : [name]
}

/** The column that holds the tokens of a key: for a unique index its id decides. */
export function columnOfKey(name: string, { unique }: BlindIndex, keyId: number): string {
  return unique ? `${name}_${keyId % 2 === 0 ? 'a' : 'b'}` : name
}

/** Where an index stands; each has keys of its own. */
interface IndexPlace {
  readonly tenant: string
  readonly table: string
  readonly column: string
  readonly name: string
}

/** A token and the key that made it. */
interface IndexToken {
  readonly keyId: number
  /** Lower-case hexadecimal. */
  readonly token: string
}

/** Makes the tokens of values under a keyset. */
export interface Indexer {
  /** One token for each enabled key, that of the primary first. */
  tokens(place: IndexPlace, index: BlindIndex, text: string): IndexToken[]
}

/** Makes an {@link Indexer}; the keys of the columns are derived from those of the keyset by HKDF. */
export function createIndexer(keyset: Keyset): Indexer {
  const keys = keyset.keys
    .filter(({ status }) => status === 'enabled')
    .toSorted((a, b) => Number(b.id === keyset.primaryKeyId) - Number(a.id === keyset.primaryKeyId))
  const derived = new BoundedMap<string, Buffer>(MAX_DERIVED)

  function keyFor({ id, secret }: KeysetKey, info: Buffer): Buffer {
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
        const hash = createHmac('sha256', keyFor(key, info)).update(normal, 'utf8').digest()
        return { keyId: key.id, token: truncate(hash, index.bits) }
      })
    },
  }
}

/** The first `bits` bits; the rest of the last byte is zero. */
function truncate(hash: Buffer, bits: number): string {
  const bytes = hash.subarray(0, Math.ceil(bits / 8))
  const rest = bits % 8
  if (rest !== 0) bytes[bytes.length - 1]! &= 0xff << (8 - rest)
  return bytes.toString('hex')
}
