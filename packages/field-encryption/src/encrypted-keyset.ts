/**
 * Keysets at rest, in Tink's JSON for encrypted keysets: the serialised keyset sealed, and beside it,
 * in clear, which keys it has.
 *
 * @see https://developers.google.com/tink/design/keysets, docs/spec/key-record.md
 */
import { PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET } from './errors.ts'
import { decodeKeyset, encodeKeyset, parseObject, type Keyset } from './keyset.ts'

const TYPE_URL = 'type.googleapis.com/google.crypto.tink.AesGcmKey'

/** Writes an encrypted keyset. @param seal wraps the serialised keyset, which is wiped after. */
export async function exportEncryptedKeyset(
  keyset: Keyset,
  seal: (bytes: Buffer) => Buffer | Promise<Buffer>,
): Promise<string> {
  const clear = encodeKeyset(keyset)
  const encrypted = await seal(clear)
  clear.fill(0)
  return JSON.stringify({
    encryptedKeyset: encrypted.toString('base64'),
    keysetInfo: {
      primaryKeyId: keyset.primaryKeyId,
      keyInfo: keyset.keys.map(({ id, status }) => ({
        typeUrl: TYPE_URL,
        status: status.toUpperCase(),
        keyId: id,
        outputPrefixType: 'TINK',
      })),
    },
  })
}

/** Reads an encrypted keyset. @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET, or what `open` throws */
export async function parseEncryptedKeyset(
  json: string,
  open: (bytes: Buffer) => Buffer | Promise<Buffer>,
): Promise<Keyset> {
  const { encryptedKeyset } = parseObject(json)
  if (typeof encryptedKeyset !== 'string') {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET('it has no encryptedKeyset')
  }
  const clear = await open(Buffer.from(encryptedKeyset, 'base64'))
  const keyset = decodeKeyset(clear)
  clear.fill(0)
  return keyset
}
