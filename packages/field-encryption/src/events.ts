/** What this plugin tells the security events, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'field_encryption.decrypted': { table: string; column: string; count: number }
    'field_encryption.denied': { table: string; code: string }
    'field_encryption.rotated': { tenant: string; primaryKeyId: number; previousKeyId: number }
    'field_encryption.forgotten': { tenant: string; reason: string }
    'field_encryption.key_unavailable': { tenant: string; served: boolean }
  }
}

/** The table of events; a test compares it with the README. */
export const events = {
  'field_encryption.decrypted': {
    severity: 'info',
    outcome: 'success',
    description: 'Values of a column were decrypted.',
  },
  'field_encryption.denied': {
    severity: 'high',
    outcome: 'failure',
    description: 'Stored values did not open: damaged, moved, in clear, or their keys are gone.',
  },
  'field_encryption.rotated': {
    severity: 'info',
    outcome: 'success',
    description: 'A tenant or a subject has a new primary key.',
  },
  'field_encryption.forgotten': {
    severity: 'medium',
    outcome: 'success',
    description: 'The keys of a subject were destroyed.',
  },
  'field_encryption.key_unavailable': {
    severity: 'high',
    outcome: 'failure',
    description: 'Keys could not be fetched; those at hand may still have served.',
  },
} as const satisfies SecurityEventTable
