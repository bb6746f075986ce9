/** The security events of accounts. The log and the audit log receive them. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'users.registered': Readonly<Record<string, never>>
    'users.registration_repeated': Readonly<Record<string, never>>
  }
}

/** The events. A test compares the table with ERRORS.md. */
export const events = {
  'users.registered': {
    severity: 'info',
    outcome: 'success',
    description: 'A user registered.',
  },
  'users.registration_repeated': {
    severity: 'low',
    outcome: 'failure',
    description: 'A registration named an address that is taken; the event has its user.',
  },
} as const satisfies SecurityEventTable
