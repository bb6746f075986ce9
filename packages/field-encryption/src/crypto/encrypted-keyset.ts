/**
 * Keysets at rest, in Tink's JSON format for encrypted keysets: the encrypted bytes, and beside them
 * the ids and states of the keys, unencrypted.
 *
 * @see https://developers.google.com/tink/design/keysets, docs/spec/key-record.md
 */
import { parseObject, requireBase64 } from './keyset-json.ts'
import { AES_GCM_TYPE_URL, decodeKeyset, encodeKeyset } from './keyset-protobuf.ts'
import type { Keyset } from './keyset.ts'

/** Writes an encrypted keyset. @param seal encrypts the keyset's bytes, which are wiped afterwards. */
export async function exportEncryptedKeyset(
  keyset: Keyset,
  seal: (bytes: Buffer) => Buffer | Promise<Buffer>,
): Promise<string> {
  const plaintext = encodeKeyset(keyset)
  const encrypted = await seal(plaintext)
  plaintext.fill(0)
  return JSON.stringify({
    encryptedKeyset: encrypted.toString('base64'),
    keysetInfo: {
      primaryKeyId: keyset.primaryKeyId,
      keyInfo: keyset.keys.map(({ id, status }) => ({
        typeUrl: AES_GCM_TYPE_URL,
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
  const plaintext = await open(requireBase64(encryptedKeyset, 'the "encryptedKeyset"'))
  const keyset = decodeKeyset(plaintext)
  plaintext.fill(0)
  return keyset
}
