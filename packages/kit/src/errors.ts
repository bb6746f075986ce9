/** Every error kit throws. The constant, the code and the row in the README carry one name. */
import { createError } from './error.ts'

/** A function of kit was called with a value outside its documented range. */
export const PARAPET_KIT_INVALID_ARGUMENT = createError('PARAPET_KIT_INVALID_ARGUMENT', '%s %s')

/** An option is unknown, mistyped or out of range; the message lists every fault found. */
export const PARAPET_KIT_INVALID_OPTION = createError(
  'PARAPET_KIT_INVALID_OPTION',
  '%s refuses its options:\n%s',
)

/** A login handed over something that is not a {@link Principal}. */
export const PARAPET_KIT_INVALID_PRINCIPAL = createError(
  'PARAPET_KIT_INVALID_PRINCIPAL',
  'The principal is refused: %s',
)

/** Two plugins were registered against the order of the phases. */
export const PARAPET_KIT_WRONG_ORDER = createError('PARAPET_KIT_WRONG_ORDER', '%s')

/** The store did not answer within its deadline; whether the operation took effect is unknown. */
export const PARAPET_KIT_STORE_TIMEOUT = createError(
  'PARAPET_KIT_STORE_TIMEOUT',
  'The store did not answer within %s ms',
  503,
)

/** The store cannot be reached, or its circuit breaker is open; the operation was not sent. */
export const PARAPET_KIT_STORE_UNAVAILABLE = createError(
  'PARAPET_KIT_STORE_UNAVAILABLE',
  'The store is unavailable: %s',
  503,
)

/** The memory store is at its bound and forgets nothing that is alive. */
export const PARAPET_KIT_STORE_FULL = createError(
  'PARAPET_KIT_STORE_FULL',
  'The memory store holds its maximum of %s bytes; raise maxBytes or use Redis',
  503,
)

/** The store refused an operation, for instance because the key holds another kind of value. */
export const PARAPET_KIT_STORE_FAILED = createError(
  'PARAPET_KIT_STORE_FAILED',
  'The store refused the operation: %s',
)

/** A migration that the ledger knows has another text now, or its id is out of order. */
export const PARAPET_KIT_MIGRATION_CHANGED = createError(
  'PARAPET_KIT_MIGRATION_CHANGED',
  'Migration "%s" of "%s" %s',
)

/** A migration failed; the whole run was rolled back. */
export const PARAPET_KIT_MIGRATION_FAILED = createError(
  'PARAPET_KIT_MIGRATION_FAILED',
  'Migration "%s" of "%s" failed and the run was rolled back: %s',
)

/** A sealed value did not open: damaged, sealed under an unknown key, or for another context. */
export const PARAPET_KIT_CIPHER_OPEN_FAILED = createError(
  'PARAPET_KIT_CIPHER_OPEN_FAILED',
  'The sealed value cannot be opened',
)
