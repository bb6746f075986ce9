/**
 * AES-GCM under a keyset: seals under the primary key, opens under every enabled key, and stops
 * sealing at the usage limit. The cipher itself and its byte layout are kit's.
 *
 * @see docs/spec/sealed-value.md, https://developers.google.com/tink/wire-format
 */
import type { KeyObject } from 'node:crypto'
import { createSealer, openSealed, parseSealedText, sealedTextLength } from '@parapet/kit'
import {
  PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
} from '../errors.ts'
import type { Keyset } from './keyset.ts'

/** The largest plaintext of one value, 16 MiB. Store larger data as a file. */
export const MAX_PLAINTEXT_BYTES = 16_777_216
/** The most characters of a stored value. */
export const MAX_CIPHERTEXT_LENGTH = sealedTextLength(MAX_PLAINTEXT_BYTES)
/** How many values one key may seal with random nonces. @see NIST SP 800-38D, section 8.3 */
export const MAX_KEY_USES = 2 ** 32

/** Counts the values that one key has sealed. */
export interface KeyUsage {
  /** Values sealed, as far as this process knows. */
  count: number
  /** Sealing is refused once `count` reaches this. */
  readonly limit: number
}

/** Seals and opens bytes under a keyset. */
export interface Aead {
  readonly keyset: Keyset
  readonly usage: KeyUsage
  /**
   * Seals under the primary key with a fresh random nonce.
   *
   * @param plaintext bytes, or well-formed text, which is written as UTF-8.
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED
   */
  seal(plaintext: string | Uint8Array, associatedData: Uint8Array): Buffer
  /** Seals as {@link Aead.seal} does and returns printable text that starts with `pe1.`. */
  sealText(plaintext: string | Uint8Array, associatedData: Uint8Array): string
  /** Opens a sealed value; `undefined` if that fails, whatever the cause. */
  tryOpen(sealed: Buffer, associatedData: Uint8Array): Buffer | undefined
  /** @throws PARAPET_FIELD_ENCRYPTION_OPEN_FAILED the same error for every cause. */
  open(sealed: Buffer, associatedData: Uint8Array): Buffer
  /** Whether the keyset has an enabled key with this id. */
  hasKey(keyId: number): boolean
}

/** Creates an {@link Aead} from the enabled keys of a keyset. */
export function createAead(
  keyset: Keyset,
  usage: KeyUsage = { count: 0, limit: MAX_KEY_USES },
): Aead {
  const keys = new Map<number, KeyObject>()
  for (const { id, status, secret } of keyset.keys) {
    if (status === 'enabled' && secret !== undefined) keys.set(id, secret)
  }
  const sealer = createSealer(keyset.primaryKeyId, keys.get(keyset.primaryKeyId)!)

  function countUse(): void {
    if (usage.count >= usage.limit) throw new PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED()
    usage.count++
  }

  return {
    keyset,
    usage,
    seal(plaintext, associatedData) {
      countUse()
      return sealer.seal(plaintext, associatedData)
    },
    sealText(plaintext, associatedData) {
      countUse()
      return sealer.sealText(plaintext, associatedData)
    },
    tryOpen: (sealed, associatedData) => openSealed(keys, sealed, associatedData),
    open(sealed, associatedData) {
      const plaintext = openSealed(keys, sealed, associatedData)
      if (plaintext === undefined) throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
      return plaintext
    },
    hasKey: (keyId) => keys.has(keyId),
  }
}

/** The sealed bytes of a stored value; `undefined` if it is no ciphertext or longer than allowed. */
export function parseCiphertext(value: unknown): Buffer | undefined {
  return parseSealedText(value, MAX_PLAINTEXT_BYTES)
}
