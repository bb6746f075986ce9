/**
 * Keysets in Tink's JSON format, as `tinkey` reads and writes it.
 *
 * @see https://developers.google.com/tink/design/keysets
 */
import { AES_GCM_TYPE_URL, decodeSecret, encodeSecret, KEY_STATUSES } from './keyset-protobuf.ts'
import { checkKeyset, refuseKeyset, type Keyset, type KeysetKey } from './keyset.ts'
import { decodeBase64, hasDuplicateNames } from './strict-json.ts'

/**
 * Reads a keyset in Tink's JSON, as `tinkey create-keyset --key-template AES256_GCM` writes it.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET the message never quotes the text.
 */
export function parseKeyset(json: string): Keyset {
  const source = parseObject(json)
  const keys = source['key']
  if (!Array.isArray(keys)) refuseKeyset('it must have a list "key"')
  return checkKeyset({
    primaryKeyId: source['primaryKeyId'] as number,
    keys: keys.map((entry: unknown) => parseKey((entry ?? {}) as Record<string, unknown>)),
  })
}

function parseKey(entry: Readonly<Record<string, unknown>>): KeysetKey {
  const status = KEY_STATUSES.find((name) => name?.toUpperCase() === entry['status'])
  if (status === undefined) refuseKeyset('a key has an unknown status')
  if (entry['outputPrefixType'] !== 'TINK') refuseKeyset('a key must have the output prefix TINK')
  const id = entry['keyId'] as number
  if (status === 'destroyed') return { id, status }
  const data = (entry['keyData'] ?? {}) as Record<string, unknown>
  if (data['typeUrl'] !== AES_GCM_TYPE_URL) refuseKeyset('a key must be of the type AesGcmKey')
  if (data['keyMaterialType'] !== 'SYMMETRIC') {
    refuseKeyset('a key must have the "keyMaterialType" SYMMETRIC')
  }
  return { id, status, secret: decodeSecret(requireBase64(data['value'], 'the "value" of a key')) }
}

/** Reads base64 that must be canonical. @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET */
export function requireBase64(value: unknown, what: string): Buffer {
  const bytes = typeof value === 'string' ? decodeBase64(value) : undefined
  if (bytes === undefined) refuseKeyset(`${what} must be base64, with padding`)
  return bytes
}

/** Writes a keyset in Tink's JSON. The text holds the secrets unencrypted: protect it like a password. */
export function exportKeyset(keyset: Keyset): string {
  return JSON.stringify({
    primaryKeyId: keyset.primaryKeyId,
    key: keyset.keys.map(({ id, status, secret }) => ({
      ...(secret === undefined
        ? undefined
        : {
            keyData: {
              typeUrl: AES_GCM_TYPE_URL,
              value: encodeSecret(secret).toString('base64'),
              keyMaterialType: 'SYMMETRIC',
            },
          }),
      status: status.toUpperCase(),
      keyId: id,
      outputPrefixType: 'TINK',
    })),
  })
}

/**
 * Reads JSON that must be an object, in which no name occurs twice.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET without the parser's error as its cause, which
 *   would quote the text.
 */
export function parseObject(json: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    value = undefined
  }
  if (typeof value !== 'object' || value === null) refuseKeyset('it must be a JSON object')
  if (hasDuplicateNames(json)) refuseKeyset('two members of an object have the same name')
  return value as Record<string, unknown>
}
