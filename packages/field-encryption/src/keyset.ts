/**
 * Keysets: Tink's model and Tink's JSON. One primary key seals, every enabled key opens, and a key
 * goes from enabled to destroyed without its id ever being used again.
 *
 * @see https://developers.google.com/tink/design/keysets
 */
import { createSecretKey, type KeyObject } from 'node:crypto'
import { takeRandom } from '@parapet/kit'
import { PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET } from './errors.ts'
import { bytesField, numberField, readProto, writeProto } from './tink-proto.ts'

/** `enabled` seals and opens, `disabled` does neither and can come back, `destroyed` has no secret. */
export type KeyStatus = 'enabled' | 'disabled' | 'destroyed'

/** One key of a keyset. */
export interface KeysetKey {
  /** 1 to 4 294 967 295; stands in clear in front of what the key sealed. */
  readonly id: number
  readonly status: KeyStatus
  /** 16 or 32 bytes; absent once destroyed. A key object, so that no log ever prints it. */
  readonly secret?: KeyObject
}

/** Keys of AES-GCM, exactly one of them primary. Frozen. */
export interface Keyset {
  readonly primaryKeyId: number
  readonly keys: readonly KeysetKey[]
}

const TYPE_URL = 'type.googleapis.com/google.crypto.tink.AesGcmKey'
const KEY_BYTES = 32
const MAX_KEY_ID = 0xffff_ffff
/** Far more than a rotation ever leaves, and little enough to search. */
const MAX_KEYS = 1000
/** `KeyStatusType` of tink.proto, by its number. */
const STATUSES = [undefined, 'enabled', 'disabled', 'destroyed'] as const
const TINK_PREFIX = 1
const SYMMETRIC = 1

/** A keyset of one fresh 256-bit key. */
export function generateKeyset(): Keyset {
  return addPrimaryKey({ primaryKeyId: 0, keys: [] })
}

/**
 * The keyset with a fresh primary key in front of the old ones, which go on opening what they
 * sealed. Its id differs from that of the former primary in the lowest bit, so that a unique blind
 * index has a column for each of the two.
 */
export function addPrimaryKey({ primaryKeyId, keys }: Keyset): Keyset {
  for (;;) {
    const random = takeRandom(4).readUInt32BE()
    const id = keys.length === 0 ? random : ((random & ~1) | (~primaryKeyId & 1)) >>> 0
    if (id === 0 || keys.some((key) => key.id === id)) continue
    const clear = takeRandom(KEY_BYTES)
    const secret = createSecretKey(clear)
    clear.fill(0)
    return checkKeyset({ primaryKeyId: id, keys: [...keys, { id, status: 'enabled', secret }] })
  }
}

/**
 * The keyset with one key in another state. A destroyed key keeps its id and loses its secret.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET the key is unknown, primary, or destroyed already.
 */
export function setKeyStatus(keyset: Keyset, keyId: number, status: KeyStatus): Keyset {
  const found = keyset.keys.find(({ id }) => id === keyId)
  if (found === undefined) refuse(`it has no key ${keyId}`)
  if (found.status === 'destroyed') refuse(`key ${keyId} is destroyed`)
  return checkKeyset({
    primaryKeyId: keyset.primaryKeyId,
    keys: keyset.keys.map((key) => {
      if (key.id !== keyId) return key
      return status === 'destroyed' ? { id: keyId, status } : { ...key, status }
    }),
  })
}

/**
 * Reads a keyset in Tink's JSON, as `tinkey create-keyset --key-template AES256_GCM` writes it.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET the text is something else; it is never quoted.
 */
export function parseKeyset(json: string): Keyset {
  const source = parseObject(json)
  const keys = source['key']
  if (!Array.isArray(keys)) refuse('it has no list of keys')
  return checkKeyset({
    primaryKeyId: source['primaryKeyId'] as number,
    keys: keys.map((entry: unknown) => {
      const key = (entry ?? {}) as Record<string, unknown>
      const status = STATUSES.find((name) => name?.toUpperCase() === key['status'])
      if (status === undefined) refuse('a key has no known status')
      if (key['outputPrefixType'] !== 'TINK') refuse('a key has another prefix than TINK')
      const id = key['keyId'] as number
      if (status === 'destroyed') return { id, status }
      const data = (key['keyData'] ?? {}) as Record<string, unknown>
      if (data['typeUrl'] !== TYPE_URL) refuse('a key is not of the type AesGcmKey')
      if (typeof data['value'] !== 'string') refuse('a key has no value')
      return { id, status, secret: readSecret(Buffer.from(data['value'], 'base64')) }
    }),
  })
}

/** Writes a keyset in Tink's JSON. It holds the secrets in clear: keep it as you keep a password. */
export function exportKeyset(keyset: Keyset): string {
  return JSON.stringify({
    primaryKeyId: keyset.primaryKeyId,
    key: keyset.keys.map(({ id, status, secret }) => ({
      ...(secret === undefined
        ? undefined
        : {
            keyData: {
              typeUrl: TYPE_URL,
              value: writeProto([[3, secret.export()]]).toString('base64'),
              keyMaterialType: 'SYMMETRIC',
            },
          }),
      status: status.toUpperCase(),
      keyId: id,
      outputPrefixType: 'TINK',
    })),
  })
}

/** Reads the serialised `Keyset` message. @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET */
export function decodeKeyset(bytes: Uint8Array): Keyset {
  const fields = readProto(bytes)
  const keys = fields.filter(({ number, value }) => number === 2 && Buffer.isBuffer(value))
  return checkKeyset({
    primaryKeyId: numberField(fields, 1),
    keys: keys.map(({ value }) => {
      const key = readProto(value as Buffer)
      const id = numberField(key, 3)
      const status = STATUSES[numberField(key, 2)]
      if (status === undefined) refuse('a key has no known status')
      if (numberField(key, 4) !== TINK_PREFIX) refuse('a key has another prefix than TINK')
      if (status === 'destroyed') return { id, status }
      const data = readProto(bytesField(key, 1))
      if (bytesField(data, 1).toString() !== TYPE_URL) refuse('a key is not of the type AesGcmKey')
      return { id, status, secret: readSecret(bytesField(data, 2)) }
    }),
  })
}

/** Writes the serialised `Keyset` message, which is what is wrapped. */
export function encodeKeyset(keyset: Keyset): Buffer {
  return writeProto([
    [1, keyset.primaryKeyId],
    ...keyset.keys.map(({ id, status, secret }) => {
      const value = secret === undefined ? Buffer.alloc(0) : writeProto([[3, secret.export()]])
      const data =
        secret === undefined
          ? Buffer.alloc(0)
          : writeProto([
              [1, Buffer.from(TYPE_URL)],
              [2, value],
              [3, SYMMETRIC],
            ])
      const key = writeProto([
        [1, data],
        [2, STATUSES.indexOf(status)],
        [3, id],
        [4, TINK_PREFIX],
      ])
      return [2, key] as const
    }),
  ])
}

/** An `AesGcmKey` message: its version must be 0, its key field 3. */
function readSecret(bytes: Buffer): KeyObject {
  const fields = readProto(bytes)
  if (numberField(fields, 1) !== 0) refuse('a key has an unknown version')
  const secret = bytesField(fields, 3)
  if (secret.length !== 16 && secret.length !== KEY_BYTES) {
    refuse('a key has another size than 128 or 256 bits')
  }
  return createSecretKey(secret)
}

function checkKeyset({ primaryKeyId, keys }: Keyset): Keyset {
  if (keys.length === 0 || keys.length > MAX_KEYS) refuse(`it must hold 1 to ${MAX_KEYS} keys`)
  for (const { id } of keys) {
    if (!Number.isInteger(id) || id < 1 || id > MAX_KEY_ID) refuse('a key id is out of range')
  }
  if (new Set(keys.map(({ id }) => id)).size < keys.length) refuse('two keys have one id')
  if (keys.find(({ id }) => id === primaryKeyId)?.status !== 'enabled') {
    refuse('its primary key is missing or not enabled')
  }
  return Object.freeze({
    primaryKeyId,
    keys: Object.freeze(keys.map((key) => Object.freeze({ ...key }))),
  })
}

/** Reads JSON that must be an object. @throws PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET, without its cause, which would quote it */
export function parseObject(json: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    value = undefined
  }
  if (typeof value !== 'object' || value === null) refuse('it is not a JSON object')
  return value as Record<string, unknown>
}

function refuse(problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET(problem)
}
