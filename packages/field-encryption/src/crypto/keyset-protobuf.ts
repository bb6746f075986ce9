/**
 * Keysets as Tink's binary `Keyset` message: the bytes that are encrypted when a keyset is stored.
 *
 * @see https://github.com/tink-crypto/tink-java `proto/tink.proto`, `proto/aes_gcm.proto`
 */
import { createSecretKey, type KeyObject } from 'node:crypto'
import { checkKeyset, refuseKeyset, type Keyset, type KeysetKey } from './keyset.ts'
import { bytesField, numberField, readMessage, writeMessage } from './protobuf.ts'

/** The only key type that is supported. */
export const AES_GCM_TYPE_URL = 'type.googleapis.com/google.crypto.tink.AesGcmKey'
/** `KeyStatusType` of tink.proto, by number. */
export const KEY_STATUSES = [undefined, 'enabled', 'disabled', 'destroyed'] as const
const TINK_PREFIX = 1
const SYMMETRIC = 1

/** Reads a binary `Keyset` message. @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET */
export function decodeKeyset(bytes: Uint8Array): Keyset {
  const fields = readMessage(bytes)
  const keys = fields.filter(({ number, value }) => number === 2 && Buffer.isBuffer(value))
  return checkKeyset({
    primaryKeyId: numberField(fields, 1),
    keys: keys.map(({ value }) => decodeKey(value as Buffer)),
  })
}

function decodeKey(bytes: Buffer): KeysetKey {
  const fields = readMessage(bytes)
  const id = numberField(fields, 3)
  const status = KEY_STATUSES[numberField(fields, 2)]
  if (status === undefined) refuseKeyset('a key has an unknown status')
  if (numberField(fields, 4) !== TINK_PREFIX) refuseKeyset('a key must have the output prefix TINK')
  if (status === 'destroyed') return { id, status }
  const data = readMessage(bytesField(fields, 1))
  if (bytesField(data, 1).toString() !== AES_GCM_TYPE_URL) {
    refuseKeyset('a key must be of the type AesGcmKey')
  }
  if (numberField(data, 3) !== SYMMETRIC) {
    refuseKeyset('a key must have the "keyMaterialType" SYMMETRIC')
  }
  return { id, status, secret: decodeSecret(bytesField(data, 2)) }
}

/** Writes the binary `Keyset` message. It holds the secrets unencrypted: wipe it after use. */
export function encodeKeyset(keyset: Keyset): Buffer {
  return writeMessage([
    [1, keyset.primaryKeyId],
    ...keyset.keys.map((key) => [2, encodeKey(key)] as const),
  ])
}

function encodeKey({ id, status, secret }: KeysetKey): Buffer {
  const data =
    secret === undefined
      ? Buffer.alloc(0)
      : writeMessage([
          [1, Buffer.from(AES_GCM_TYPE_URL)],
          [2, encodeSecret(secret)],
          [3, SYMMETRIC],
        ])
  return writeMessage([
    [1, data],
    [2, KEY_STATUSES.indexOf(status)],
    [3, id],
    [4, TINK_PREFIX],
  ])
}

/** Reads an `AesGcmKey` message. @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET */
export function decodeSecret(bytes: Buffer): KeyObject {
  const fields = readMessage(bytes)
  if (numberField(fields, 1) !== 0) refuseKeyset('a key has an unknown version')
  const secret = bytesField(fields, 3)
  if (secret.length !== 16 && secret.length !== 32) {
    refuseKeyset(`a key must have 16 or 32 bytes, got ${secret.length}`)
  }
  return createSecretKey(secret)
}

/** Writes an `AesGcmKey` message. */
export function encodeSecret(secret: KeyObject): Buffer {
  return writeMessage([[3, secret.export()]])
}
