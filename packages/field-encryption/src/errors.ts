/** Every error of this plugin. The constant, the code and the row in the README carry one name. */
import { createError } from '@fastify/error'

/** An option is unknown, mistyped or out of range; the message lists every fault found. */
export const PARAPET_FIELD_ENCRYPTION_INVALID_OPTION = createError<
  [plugin: string, faults: string]
>('PARAPET_FIELD_ENCRYPTION_INVALID_OPTION', '%s refuses its options:\n%s')

/** A schema, table or route asks for something that cannot be kept; thrown as it is declared. */
export const PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA = createError<[where: string, fault: string]>(
  'PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA',
  '%s: %s',
)

/** A function was called with an argument outside its documented range. */
export const PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT = createError<
  [what: string, problem: string]
>('PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT', '%s %s')

/** A keyset is malformed, has no usable primary key, or holds keys of another kind. */
export const PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET = createError<[problem: string]>(
  'PARAPET_FIELD_ENCRYPTION_INVALID_KEYSET',
  'The keyset is refused: %s',
)

/** A value to encrypt is not of the type that its schema names; the value is never quoted. */
export const PARAPET_FIELD_ENCRYPTION_INVALID_VALUE = createError<
  [column: string, expected: string]
>('PARAPET_FIELD_ENCRYPTION_INVALID_VALUE', 'The value of "%s" must be %s', 400)

/** A ciphertext stands where a plaintext belongs: it would be encrypted twice. */
export const PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND = createError<[column: string]>(
  'PARAPET_FIELD_ENCRYPTION_CIPHERTEXT_FOUND',
  'The value of "%s" has the form of a ciphertext',
  400,
)

/** A plaintext stands where a ciphertext belongs. */
export const PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND = createError<[column: string]>(
  'PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND',
  'The stored value of "%s" is not encrypted',
)

/** An encrypted value or file does not open: damaged, under an unknown key, or in another place. */
export const PARAPET_FIELD_ENCRYPTION_OPEN_FAILED = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_OPEN_FAILED',
  'The encrypted value cannot be opened',
)

/** `where` was asked for a column that has no blind index, or not the one that was named. */
export const PARAPET_FIELD_ENCRYPTION_NOT_INDEXED = createError<[column: string]>(
  'PARAPET_FIELD_ENCRYPTION_NOT_INDEXED',
  'The column "%s" has no such blind index, so it cannot be searched',
)

/** A reply carries a ciphertext where its schema has a value: decrypt the row first. */
export const PARAPET_FIELD_ENCRYPTION_NOT_DECRYPTED = createError<[column: string]>(
  'PARAPET_FIELD_ENCRYPTION_NOT_DECRYPTED',
  'The field "%s" of the reply is not decrypted',
)

/** A reply carries a field that no reply may carry, or in a form that cannot be masked. */
export const PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED = createError<[reason: string]>(
  'PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED',
  'The reply is refused: %s',
)

/** The key table or the key provider did not answer, or refused; nothing was read or written. */
export const PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE',
  'The encryption key is unavailable',
  503,
)

/** The primary key has sealed as many values as random nonces allow; rotate it. */
export const PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_KEY_EXHAUSTED',
  'The encryption key has reached its limit and must be rotated',
  503,
)

/** The keys of this subject are destroyed. */
export const PARAPET_FIELD_ENCRYPTION_FORGOTTEN = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_FORGOTTEN',
  'The data of this subject have been erased',
  410,
)

/** The subject is under a legal hold; nothing was destroyed. */
export const PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_LEGAL_HOLD',
  'The data of this subject are under a legal hold',
  423,
)

/** A key is still needed: by a rotation under way, as the primary, or by what it has wrapped. */
export const PARAPET_FIELD_ENCRYPTION_KEY_IN_USE = createError<[problem: string]>(
  'PARAPET_FIELD_ENCRYPTION_KEY_IN_USE',
  'The key is still in use: %s',
  409,
)

/** There is no file of this name. */
export const PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND',
  'There is no such file',
  404,
)

/** The range that was asked for lies outside the file. */
export const PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED = createError<[]>(
  'PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED',
  'The range lies outside the file',
  416,
)
