/** Faults of the folder where uploads wait. */
import { PARAPET_INPUT_GUARD_STORAGE_FAILED } from '../errors.ts'

/**
 * Runs an operation on a file. The error names no path; its `cause` does, for the log.
 *
 * @throws PARAPET_INPUT_GUARD_STORAGE_FAILED
 */
export async function stored<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    throw Object.assign(new PARAPET_INPUT_GUARD_STORAGE_FAILED(), { cause })
  }
}
