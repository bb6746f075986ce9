/** Tells faults of a form from faults of the server. */
import { PARAPET_INPUT_GUARD_UPLOAD_REFUSED } from '../errors.ts'

/**
 * The items of a source that a client sends. What its parser throws without a status of its own is a fault of the
 * form: it ends too early, or is malformed.
 *
 * @throws PARAPET_INPUT_GUARD_UPLOAD_REFUSED
 */
export async function* fromClient<T>(source: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    for await (const each of source) yield each
  } catch (cause) {
    const { statusCode = 500 } = cause as { readonly statusCode?: number }
    if (statusCode < 500) throw cause
    throw Object.assign(new PARAPET_INPUT_GUARD_UPLOAD_REFUSED('the form is damaged'), { cause })
  }
}
