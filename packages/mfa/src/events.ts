/** The security events of this plugin and the types of their details. */
import type { SecurityEventTable } from '@parapet/kit'

/** The kind of a second factor. */
export type Method = 'totp' | 'backup-code' | 'passkey'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'mfa.enrolled': { factor: Method }
    'mfa.removed': { factor: Method }
    'mfa.imported': { totp: boolean; backupCodes: number }
    'mfa.verified': { method: Method; aal: number; driftSteps: number | null }
    'mfa.failed': {
      method: Method
      reason: 'wrong' | 'throttled' | 'locked' | 'unknown' | 'signature' | 'counter' | 'revoked'
      failures: number
    }
    'mfa.replayed': { method: Method }
    'mfa.locked': { method: Method; failures: number }
    'mfa.backup_code_used': { left: number }
    'mfa.reset': { by: string; recovery: boolean }
    'mfa.forgotten': Record<string, never>
    'mfa.challenged': { reason: 'unproved' | 'unenrolled' | 'missed'; acr: string }
    'mfa.clock_corrected': {
      /** By how many seconds the clock was ahead when the account was last written. */
      aheadSeconds: number
    }
    'mfa.device_remembered': { deviceId: string }
    'mfa.device_revoked': { devices: number }
  }
}

/** The table of events. `docs/reference/mfa.md` is generated from it. */
export const events = {
  'mfa.enrolled': {
    severity: 'medium',
    outcome: 'success',
    description: 'A factor was added to an account or replaced an old one.',
  },
  'mfa.imported': {
    severity: 'medium',
    outcome: 'success',
    description: 'The factors of a user were imported from another system.',
  },
  'mfa.removed': {
    severity: 'medium',
    outcome: 'success',
    description: 'A user removed a factor.',
  },
  'mfa.verified': {
    severity: 'info',
    outcome: 'success',
    description: 'A user verified a second factor.',
  },
  'mfa.failed': {
    severity: 'low',
    outcome: 'failure',
    description: 'An attempt was refused. The severity is high if a passkey seems to be cloned.',
  },
  'mfa.replayed': {
    severity: 'medium',
    outcome: 'failure',
    description:
      'A used code, ticket or challenge was sent again. The severity is low for a challenge, which may only have expired.',
  },
  'mfa.locked': {
    severity: 'high',
    outcome: 'failure',
    description: 'A factor was disabled after too many wrong codes in a row.',
  },
  'mfa.backup_code_used': {
    severity: 'medium',
    outcome: 'success',
    description: 'A user verified a backup code, which is now used up.',
  },
  'mfa.reset': {
    severity: 'high',
    outcome: 'success',
    description: 'All factors of an account were removed, by an administrator or in a recovery.',
  },
  'mfa.forgotten': {
    severity: 'high',
    outcome: 'success',
    description: 'The service erased the account of a user, with all factors.',
  },
  'mfa.challenged': {
    severity: 'info',
    outcome: 'failure',
    description:
      'A request was refused because the session lacks a proof that its route or role requires.',
  },
  'mfa.clock_corrected': {
    severity: 'medium',
    outcome: 'success',
    description:
      'The clock of an instance had been ahead, and a code of the present was accepted again. Check NTP.',
  },
  'mfa.device_remembered': {
    severity: 'info',
    outcome: 'success',
    description: 'A device was remembered; it may skip the second factor until it expires.',
  },
  'mfa.device_revoked': {
    severity: 'info',
    outcome: 'success',
    description: 'Remembered devices were revoked.',
  },
} as const satisfies SecurityEventTable
