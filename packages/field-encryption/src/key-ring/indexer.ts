/** Computes the tokens of blind indexes. */
import { createHmac, hkdfSync } from 'node:crypto'
import { encodeContext } from '@parapet/kit'
import type { BlindIndex } from '../blind-index/blind-index.ts'
import type { Keyset, KeysetKey } from '../crypto/keyset.ts'
import { LruMap } from '../crypto/lru-map.ts'

/** Identifies an index. Each index has its own derived keys. */
export interface IndexPlace {
  readonly tenant: string
  readonly table: string
  /** The member; of a compound index its members, joined by `+`. */
  readonly column: string
  readonly name: string
}

/** A token and the id of its key. */
interface IndexToken {
  readonly keyId: number
  /** Lower-case hexadecimal. */
  readonly token: string
}

/** Computes tokens under a keyset. */
export interface Indexer {
  /**
   * Returns one token for each enabled key, the primary key's first.
   *
   * @param normal what is hashed: a normalized text, or the encoded texts of a compound index.
   */
  tokens(place: IndexPlace, index: BlindIndex, normal: string | Uint8Array): IndexToken[]
}

const KEY_BYTES = 32
/** Derived keys that are cached, one for each column, tenant and key. */
const MAX_DERIVED = 2000

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
    tokens({ tenant, table, column, name }, index, normal) {
      const info = encodeContext(['fe-index1', tenant, table, column, name])
      return keys.map((key) => {
        const hash = createHmac('sha256', deriveKey(key, info)).update(normal).digest()
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
