/** The security events of this plugin, and their details. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'field_encryption.decrypted': { table: string; column: string; count: number }
    'field_encryption.denied': { table: string; code: string; count: number }
    'field_encryption.created': { tenant: string; keyId: number }
    'field_encryption.rotated': { tenant: string; primaryKeyId: number; previousKeyId: number }
    'field_encryption.forgotten': { tenant: string; reason: string }
    'field_encryption.key_unavailable': { tenant: string; served: boolean }
  }
}

/** The table of events. */
export const events = {
  'field_encryption.decrypted': {
    severity: 'info',
    outcome: 'success',
    description:
      'Values of a column were decrypted, and did not only leave masked: one event for each request.',
  },
  'field_encryption.denied': {
    severity: 'high',
    outcome: 'failure',
    description:
      'Stored values could not be decrypted: damaged, moved, not encrypted, or without keys. The ' +
      'first time at once; repetitions within a minute in one event with their `count`.',
  },
  'field_encryption.created': {
    severity: 'info',
    outcome: 'success',
    description:
      'A tenant got its first keys. For a tenant with data it means that its keys were lost.',
  },
  'field_encryption.rotated': {
    severity: 'info',
    outcome: 'success',
    description: 'A tenant or a subject got a new primary key.',
  },
  'field_encryption.forgotten': {
    severity: 'medium',
    outcome: 'success',
    description: 'The keys of a subject were destroyed; `resourceId` is the subject.',
  },
  'field_encryption.key_unavailable': {
    severity: 'high',
    outcome: 'failure',
    description: 'Keys could not be loaded; `served`: cached keys were used instead.',
  },
} as const satisfies SecurityEventTable
