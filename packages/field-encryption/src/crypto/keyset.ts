/**
 * Keysets in Tink's model. One primary key seals, every enabled key opens, and the id of a destroyed
 * key is never used again.
 *
 * @see https://developers.google.com/tink/design/keysets
 */
import { createSecretKey, type KeyObject } from 'node:crypto'
import { takeRandom } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET } from '../errors.ts'

/** `enabled` seals and opens; `disabled` does neither and can be enabled again; `destroyed` has no secret. */
export type KeyStatus = 'enabled' | 'disabled' | 'destroyed'

/** One key of a keyset. */
export interface KeysetKey {
  /** 1 to 4 294 967 295. Every ciphertext starts with the id of its key, unencrypted. */
  readonly id: number
  readonly status: KeyStatus
  /** 16 or 32 bytes; absent once destroyed. A key object, so that no log prints the bytes. */
  readonly secret?: KeyObject
}

/** AES-GCM keys, exactly one of them primary. Frozen. */
export interface Keyset {
  readonly primaryKeyId: number
  readonly keys: readonly KeysetKey[]
}

const KEY_BYTES = 32
const MAX_KEY_ID = 0xffff_ffff
/** More than any rotation leaves behind, and few enough to search in a list. */
const MAX_KEYS = 1000

/** Creates a keyset with one fresh 256-bit key. */
export function generateKeyset(): Keyset {
  return addPrimaryKey({ primaryKeyId: 0, keys: [] })
}

/**
 * Returns the keyset with a fresh primary key. The old keys still open what they sealed. The new id
 * differs from the old primary's id in the lowest bit, so that a unique blind index has a column for
 * each of the two keys.
 */
export function addPrimaryKey({ primaryKeyId, keys }: Keyset): Keyset {
  for (;;) {
    const random = takeRandom(4).readUInt32BE()
    const id = keys.length === 0 ? random : ((random & ~1) | (~primaryKeyId & 1)) >>> 0
    if (id === 0 || keys.some((key) => key.id === id)) continue
    const bytes = takeRandom(KEY_BYTES)
    const secret = createSecretKey(bytes)
    bytes.fill(0)
    return checkKeyset({ primaryKeyId: id, keys: [...keys, { id, status: 'enabled', secret }] })
  }
}

/**
 * Returns the keyset with one key in another state. A destroyed key keeps its id and loses its secret.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET the key is unknown, primary, or already destroyed.
 */
export function setKeyStatus(keyset: Keyset, keyId: number, status: KeyStatus): Keyset {
  const found = keyset.keys.find(({ id }) => id === keyId)
  if (found === undefined) refuseKeyset(`it has no key with the id ${keyId}`)
  if (found.status === 'destroyed') refuseKeyset(`key ${keyId} is already destroyed`)
  return checkKeyset({
    primaryKeyId: keyset.primaryKeyId,
    keys: keyset.keys.map((key) => {
      if (key.id !== keyId) return key
      return status === 'destroyed' ? { id: keyId, status } : { ...key, status }
    }),
  })
}

/** Validates a keyset and freezes it. @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET */
export function checkKeyset({ primaryKeyId, keys }: Keyset): Keyset {
  if (keys.length === 0 || keys.length > MAX_KEYS) {
    refuseKeyset(`it must have 1 to ${MAX_KEYS} keys, got ${keys.length}`)
  }
  for (const { id } of keys) {
    if (!Number.isInteger(id) || id < 1 || id > MAX_KEY_ID) {
      refuseKeyset(`every key id must be an integer from 1 to ${MAX_KEY_ID}`)
    }
  }
  if (new Set(keys.map(({ id }) => id)).size < keys.length)
    refuseKeyset('two keys have the same id')
  if (keys.find(({ id }) => id === primaryKeyId)?.status !== 'enabled') {
    refuseKeyset('its primary key is missing or not enabled')
  }
  return Object.freeze({
    primaryKeyId,
    keys: Object.freeze(keys.map((key) => Object.freeze({ ...key }))),
  })
}

/** @param problem never quotes the keyset, which may hold secrets. */
export function refuseKeyset(problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET(problem)
}
