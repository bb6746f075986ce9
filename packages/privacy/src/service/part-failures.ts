/** Reports parts of requests that failed, without what their errors may quote. */
import { reasonOf } from '../erasure/erase.ts'
import type { RequestBody, RequestPart } from '../requests/request.ts'
import type { PrivacyContext } from './context.ts'

class PartFailedError extends Error {
  override readonly name = 'PartFailedError'
}

/** An error that can be logged: the message of an error of the application may quote personal data. */
export function withoutData(error: unknown): unknown {
  const reason = reasonOf(error)
  return reason.startsWith('PARAPET_PRIVACY_') ? error : new PartFailedError(reason)
}

/** Emits and logs the failure of a part. */
export function reportFailure(
  { emit, onError }: Pick<PrivacyContext, 'emit' | 'onError'>,
  { id: request, type }: Pick<RequestBody, 'id' | 'type'>,
  { name: part, attempts }: Pick<RequestPart, 'name' | 'attempts'>,
  error: unknown,
): void {
  emit('privacy.part_failed', { request, type, part, attempts, reason: reasonOf(error) })
  onError(withoutData(error), `privacy: the part "${part}" of ${request} failed`)
}
