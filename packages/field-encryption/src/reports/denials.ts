/** Reports rows that could not be decrypted, without one event for each of them. */
import type { Clock, SecurityEvents } from '@parapet/kit'
import {
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
} from '../errors.ts'
import type { EventRequest } from './request-tally.ts'

/** Failures that may be an attack. Invalid calls and unavailable keys are reported elsewhere. */
const DENIALS = [
  PARAPET_FIELD_ENCRYPTION_FORGOTTEN,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
  PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND,
]
/** Repetitions within this time are reported in one event. */
const WINDOW_MS = 60_000

/** Reports denials. */
export interface DenialReports {
  /** @param error other errors are ignored. */
  report(table: string, error: unknown, request: EventRequest | undefined): void
  /** Reports the repetitions that have not been reported yet. */
  close(): void
}

/**
 * Creates {@link DenialReports}. The first failure of a table and code is reported at once, with its
 * request; those of the next minute in one event with their number. Otherwise each visitor of a page
 * with one unreadable row would cause an alert.
 */
export function createDenialReports(events: SecurityEvents, clock: Clock): DenialReports {
  const open = new Map<string, { repeated: number; readonly end: () => void }>()

  function emit(table: string, code: string, count: number, request?: EventRequest): void {
    events.emit('field_encryption.denied', { details: { table, code, count } }, request)
  }

  return {
    report(table, error, request) {
      if (!DENIALS.some((each) => error instanceof each)) return
      const { code } = error as { readonly code: string }
      const name = `${table} ${code}`
      const known = open.get(name)
      if (known !== undefined) {
        known.repeated++
        return
      }
      const end = (): void => {
        open.delete(name)
        cancel()
        if (window.repeated > 0) emit(table, code, window.repeated)
      }
      const window = { repeated: 0, end }
      const cancel = clock.schedule(WINDOW_MS, end)
      open.set(name, window)
      emit(table, code, 1, request)
    },
    close() {
      for (const { end } of open.values()) end()
    },
  }
}
