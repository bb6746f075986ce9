/** Reads of the store that may be down. */
import { replaceForeignErrors } from '@parapet/kit'
import { PARAPET_AUDIT_LOG_UNAVAILABLE } from '../errors.ts'

/**
 * A driver and a deadline have errors of their own, which tell a caller nothing.
 *
 * @throws PARAPET_AUDIT_LOG_UNAVAILABLE the store did not answer; the reason is its `cause`.
 */
export function readStore<T>(work: Promise<T>): Promise<T> {
  return replaceForeignErrors(
    () => work,
    (cause) => Object.assign(new PARAPET_AUDIT_LOG_UNAVAILABLE(), { cause }),
  )
}
