/** Reads of the store that may be down. */
import { PARAPET_AUDIT_LOG_UNAVAILABLE } from '../errors.ts'

/**
 * A driver and a deadline have errors of their own, which tell a caller nothing.
 *
 * @throws PARAPET_AUDIT_LOG_UNAVAILABLE the store did not answer; the reason is its `cause`.
 */
export async function readStore<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (String((error as { code?: unknown } | null)?.code).startsWith('PARAPET_')) throw error
    throw Object.assign(new PARAPET_AUDIT_LOG_UNAVAILABLE(), { cause: error })
  }
}
