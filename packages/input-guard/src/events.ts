/** The security events that this plugin emits, and the details of each. None contains a value of a client. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'input_guard.rejected': {
      /** `body`, `querystring`, `params`, `headers` or `url`. */
      in: string
      /** JSON Pointer of the first fault; at most 128 characters. */
      field: string
      code: string
      /** The number of faults in this request. */
      count: number
      /** The number of events of the same route, field and code that were not emitted since the last one. */
      suppressed: number
    }
    'input_guard.sanitized': { field: string; suppressed: number }
    'input_guard.field_removed': { field: string; suppressed: number }
    'input_guard.upload_refused': { reason: string }
    'input_guard.request_forbidden': { reason: string; host: string }
    'input_guard.connection_closed': { reason: string }
  }
}

/** The table of events; its descriptions are printed in the generated reference page. */
export const events = {
  'input_guard.rejected': {
    severity: 'low',
    outcome: 'failure',
    description:
      'A request was refused because of its form. Repetitions within a minute are counted.',
  },
  'input_guard.sanitized': {
    severity: 'low',
    outcome: 'success',
    description: 'Unsafe HTML was removed from a field. Repetitions within a minute are counted.',
  },
  'input_guard.field_removed': {
    severity: 'medium',
    outcome: 'success',
    description:
      'A response had a member that its schema does not declare; it was removed. Emitted once for each field of a route in a minute.',
  },
  'input_guard.upload_refused': {
    severity: 'medium',
    outcome: 'failure',
    description: 'An uploaded file was refused and deleted.',
  },
  'input_guard.request_forbidden': {
    severity: 'high',
    outcome: 'failure',
    description: 'An outgoing request to a forbidden host or address was refused (SSRF).',
  },
  'input_guard.connection_closed': {
    severity: 'medium',
    outcome: 'failure',
    description:
      'A connection was closed: too many pipelined requests, unread bytes or open connections.',
  },
} as const satisfies SecurityEventTable
