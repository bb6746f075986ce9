/** The name of a log never changes: it is part of every checkpoint. */
import { PARAPET_AUDIT_LOG_ORIGIN_CHANGED } from '../errors.ts'
import type { LogState } from '../log/log-store.ts'

/**
 * Compares the stored name with the option.
 *
 * @param place `directory` or `database`. @throws PARAPET_AUDIT_LOG_ORIGIN_CHANGED
 */
export function requireOrigin(state: LogState | null, origin: string, place: string): void {
  if (state === null || state.origin === origin) return
  throw new PARAPET_AUDIT_LOG_ORIGIN_CHANGED(place, state.origin, origin)
}
