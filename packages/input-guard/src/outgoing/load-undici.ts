/** Loads undici, which is optional. */
import { PARAPET_INPUT_GUARD_MISSING_LIBRARY } from '../errors.ts'

/** The parts of undici that are used. */
interface Undici {
  readonly Agent: new (options: object) => { destroy(): Promise<void> }
  readonly fetch: (url: string, init: object) => Promise<Response>
}

/** @throws PARAPET_INPUT_GUARD_MISSING_LIBRARY (as a rejection) it is not installed. */
export async function loadUndici(): Promise<Undici> {
  try {
    return await import('undici')
  } catch (cause) {
    const missing = new PARAPET_INPUT_GUARD_MISSING_LIBRARY('app.inputGuard.fetch', 'undici')
    throw Object.assign(missing, { cause })
  }
}
