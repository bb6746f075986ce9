/** The security events of accounts. The log and the audit log receive them. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'users.registered': Readonly<Record<string, never>>
    'users.registration_repeated': Readonly<Record<string, never>>
    'users.password_refused': Readonly<Record<string, never>>
    'users.password_throttled': Readonly<Record<string, never>>
    'users.email_changed': Readonly<Record<string, never>>
    'users.email_refused': Readonly<Record<string, never>>
  }
}

/** The events. A test compares the table with REFERENCE.md. */
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
  'users.password_refused': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A change of the own account was sent with a wrong current password.',
  },
  'users.password_throttled': {
    severity: 'high',
    outcome: 'failure',
    description: 'Too many wrong current passwords; the password was not checked.',
  },
  'users.email_changed': {
    severity: 'medium',
    outcome: 'success',
    description: 'A user changed the own address, which is the name of the login.',
  },
  'users.email_refused': {
    severity: 'low',
    outcome: 'failure',
    description: 'A user wanted to change the own address to one that is taken.',
  },
} as const satisfies SecurityEventTable
