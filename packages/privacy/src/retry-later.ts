/** The refusal of a caller who asks too often, with the time to wait. */
import { PARAPET_PRIVACY_TOO_MANY_REQUESTS } from './errors.ts'

/** Makes the error; Fastify sends its headers. */
export function retryLater(afterMs: number): Error {
  const seconds = Math.max(1, Math.ceil(afterMs / 1000))
  const headers = { 'retry-after': String(seconds) }
  return Object.assign(new PARAPET_PRIVACY_TOO_MANY_REQUESTS(), { headers })
}
