/** Kit's `Cipher` port over a keyset, compatible with values that kit's `createLocalCipher` sealed. */
import { encodeContext, PARAPET_KIT_CIPHER_OPEN_FAILED, type Cipher } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'
import { createAead, parseCiphertext, type Aead } from './aead.ts'
import { parseKeyset } from './keyset-json.ts'

/**
 * Creates kit's `Cipher`, for the plugins that take one, from a keyset in Tink's JSON.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET
 * @see docs/spec/sealed-value.md
 */
export function createKeysetCipher(keyset: string): Cipher {
  const aead = createAead(parseKeyset(keyset))
  return createAeadCipher(async () => aead)
}

/** Creates a `Cipher` from keys that may have to be loaded for each call. */
export function createAeadCipher(loadAead: () => Promise<Aead>): Cipher {
  return {
    async seal(plaintext, context) {
      if (typeof plaintext === 'string' && !plaintext.isWellFormed()) {
        throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
          'the plaintext',
          'must be well-formed Unicode, got a lone surrogate',
        )
      }
      return (await loadAead()).sealText(plaintext, encodeContext(context))
    },
    async open(sealed, context) {
      const associatedData = encodeContext(context)
      const bytes = parseCiphertext(sealed)
      const plaintext = bytes && (await loadAead()).tryOpen(bytes, associatedData)
      // The port promises kit's error code for every implementation.
      if (plaintext === undefined) throw new PARAPET_KIT_CIPHER_OPEN_FAILED()
      return plaintext
    },
  }
}
