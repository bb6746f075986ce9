/** The errors of this plugin. Each constant has the name of its code. */
import { createError } from '@fastify/error'

/**
 * Thrown at boot when an option is unknown, missing, mistyped or out of range.
 * Fix: correct the options that the message lists.
 */
export const PARAPET_FIELD_ENCRYPTION_INVALID_OPTION = createError<
  [plugin: string, faults: string]
>('PARAPET_FIELD_ENCRYPTION_INVALID_OPTION', 'The options of %s are invalid:\n%s')

/**
 * Thrown at boot when a table or a response schema has `Encrypted` where it cannot be supported.
 * Fix: change the schema as the message says.
 */
export const PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA = createError<[where: string, fault: string]>(
  'PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA',
  'The encryption schema of %s is invalid: %s',
)

/**
 * Thrown when a function is called with an argument outside its documented range.
 * Fix: correct the call as the message says.
 */
export const PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT = createError<
  [what: string, problem: string]
>('PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT', 'Invalid argument: %s %s')

/**
 * Thrown when a keyset is malformed, has no enabled primary key, or has keys of an unsupported
 * type.
 * Fix: create one with `generateKeyset` or with `tinkey create-keyset --key-template AES256_GCM`.
 */
export const PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET = createError<[problem: string]>(
  'PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET',
  'The keyset is invalid: %s',
)

/**
 * Thrown when a value to encrypt does not have the type of its schema; the message never quotes it.
 * Fix: validate the request body with the same schema.
 */
export const PARAPET_FIELD_ENCRYPTION_INVALID_VALUE = createError<
  [column: string, expected: string]
>('PARAPET_FIELD_ENCRYPTION_INVALID_VALUE', 'The value of "%s" must be %s', 400)

/**
 * Thrown when a value to encrypt is a ciphertext, which would be encrypted twice.
 * Fix: decrypt the row before you write it back.
 */
export const PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND = createError<[column: string]>(
  'PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND',
  'The value of "%s" must be a plaintext, but it has the form of a ciphertext',
  400,
)

/**
 * Thrown when a stored value to decrypt is not encrypted.
 * Fix: find the code that writes the column without `encryptRecord`, then run `reencrypt({
 * adoptPlaintext: true })`.
 */
export const PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND = createError<[column: string]>(
  'PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND',
  'The stored value of "%s" is not encrypted',
)

/**
 * Thrown when an encrypted value or file cannot be opened: it is damaged, its key is unknown, or it
 * belongs to another place.
 * Fix: check the tenant, the row id and the table name of the call, then whether the data was
 * changed or its key retired.
 */
export const PARAPET_FIELD_ENCRYPTION_OPEN_FAILED = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_OPEN_FAILED',
  'The encrypted value cannot be opened',
)

/**
 * Thrown by `where` when the column has no blind index, or none of the given name.
 * Fix: declare the index in `Encrypted(schema, { index })`, then run `reencrypt` to fill its
 * column.
 */
export const PARAPET_FIELD_ENCRYPTION_NOT_INDEXED = createError<[column: string]>(
  'PARAPET_FIELD_ENCRYPTION_NOT_INDEXED',
  'The column "%s" cannot be searched: it has no such blind index',
)

/**
 * Thrown when a response has a ciphertext in an encrypted field.
 * Fix: decrypt the row with `decryptRecord` in the handler.
 */
export const PARAPET_FIELD_ENCRYPTION_NOT_DECRYPTED = createError<[column: string]>(
  'PARAPET_FIELD_ENCRYPTION_NOT_DECRYPTED',
  'The field "%s" of the response is not decrypted',
)

/**
 * Thrown when a response has a field that is never revealed, a form that cannot be masked, or a success
 * status without a schema beside one with `Encrypted`; or when a mask or a role function fails.
 * Fix: return decrypted objects that match the response schema, give each success status a schema, and
 * register the plugin with `await` before the routes.
 */
export const PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED = createError<[reason: string]>(
  'PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED',
  'The response was not sent: %s',
)

/**
 * Thrown when the key store or the key provider fails, refuses or exceeds `deadlineMs`; nothing was
 * read or written.
 * Fix: read the cause in the log, restore the key store or the provider, and retry.
 */
export const PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE',
  'The encryption key is unavailable',
  503,
)

/**
 * Thrown when the primary key has sealed 2^32 values, the limit for random nonces.
 * Fix: call `rotate`; the log has warned at half of the limit.
 */
export const PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED',
  'The encryption key has reached its usage limit and must be rotated',
  503,
)

/**
 * Thrown when the keys of a subject were destroyed by `forget`.
 * Fix: the data cannot be recovered; list the remaining rows with `forgotten: 'withhold'`.
 */
export const PARAPET_FIELD_ENCRYPTION_FORGOTTEN = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_FORGOTTEN',
  'The data of this subject has been erased',
  410,
)

/**
 * Thrown by `forget` when the subject is under a legal hold; nothing was destroyed.
 * Fix: call `release` once the hold has ended, then `forget` again.
 */
export const PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD',
  'The data of this subject is under a legal hold',
  423,
)

/**
 * Thrown by `rotate` and `retire` when a key is still needed: it is primary, wraps other keys, or
 * its rotation is not finished.
 * Fix: run `reencrypt` on every table, wait until `status` lists the key in `safeToDestroy`, then
 * `retire` it.
 */
export const PARAPET_FIELD_ENCRYPTION_KEY_IN_USE = createError<[problem: string]>(
  'PARAPET_FIELD_ENCRYPTION_KEY_IN_USE',
  'The key is still in use: %s',
  409,
)

/**
 * Thrown when the file store has no file with this name.
 * Fix: check the name; the client may treat it as a normal 404.
 */
export const PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND',
  'The file does not exist',
  404,
)

/**
 * Thrown when the requested range of a file is invalid or starts after its last byte.
 * Fix: request a range within the size that the `content-range` header of the response states.
 */
export const PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED',
  'The requested range is outside the file',
  416,
)

/**
 * Thrown when a file was replaced: by `sendFile` if it no longer has the entity tag of `If-Match`, by
 * a file store if the version that is being read is gone.
 * Fix: request the file again without the condition, and start over.
 */
export const PARAPET_FIELD_ENCRYPTION_FILE_CHANGED = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_FILE_CHANGED',
  'The file was changed; request it again',
  412,
)
