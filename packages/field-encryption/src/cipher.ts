/** Kit's cipher port over a keyset: what `createLocalCipher` sealed opens here, and the reverse. */
import { encodeContext, PARAPET_KIT_CIPHER_OPEN_FAILED, type Cipher } from '@parapet/kit'
import { createAead, parseEnvelope, type Aead } from './aead.ts'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from './errors.ts'
import { parseKeyset } from './keyset.ts'

/**
 * Makes kit's `Cipher`, for the plugins that take one, over a keyset in Tink's JSON.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET
 * @see docs/spec/sealed-value.md
 */
export function createKeysetCipher(keyset: string): Cipher {
  const aead = createAead(parseKeyset(keyset))
  return cipherOver(async () => aead)
}

/** The cipher over keys that may have to be fetched first. */
export function cipherOver(aeadOf: () => Promise<Aead>): Cipher {
  return {
    async seal(plaintext, context) {
      if (typeof plaintext === 'string' && !plaintext.isWellFormed()) {
        throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT('the plaintext', 'must be well-formed')
      }
      return (await aeadOf()).sealText(plaintext, encodeContext(context))
    },
    async open(sealed, context) {
      const associatedData = encodeContext(context)
      const bytes = parseEnvelope(sealed)
      const plaintext = bytes && (await aeadOf()).tryOpen(bytes, associatedData)
      // The port promises this code, whoever implements it.
      if (plaintext === undefined) throw new PARAPET_KIT_CIPHER_OPEN_FAILED()
      return plaintext
    },
  }
}
