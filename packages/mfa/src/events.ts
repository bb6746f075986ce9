/** What this plugin tells the security events, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'

/** How something was proved. */
export type Method = 'totp' | 'backup-code' | 'passkey'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'mfa.enrolled': { factor: Method }
    'mfa.removed': { factor: Method }
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
    'mfa.challenged': { reason: 'unproved' | 'unenrolled' | 'missed'; acr: string }
    'mfa.device_remembered': { deviceId: string }
    'mfa.device_revoked': { devices: number }
  }
}

/** The table of events; a test compares it with the README. */
export const events = {
  'mfa.enrolled': {
    severity: 'medium',
    outcome: 'success',
    description: 'A factor was added to an account, or took the place of an old one.',
  },
  'mfa.removed': {
    severity: 'medium',
    outcome: 'success',
    description: 'A factor was taken from an account by its owner.',
  },
  'mfa.verified': {
    severity: 'info',
    outcome: 'success',
    description: 'A second factor was proved.',
  },
  'mfa.failed': {
    severity: 'low',
    outcome: 'failure',
    description: 'An attempt was refused.',
  },
  'mfa.replayed': {
    severity: 'medium',
    outcome: 'failure',
    description: 'Something that works once was shown again.',
  },
  'mfa.locked': {
    severity: 'high',
    outcome: 'failure',
    description: 'A factor was disabled after too many wrong codes in a row.',
  },
  'mfa.backup_code_used': {
    severity: 'medium',
    outcome: 'success',
    description: 'A backup code was used up.',
  },
  'mfa.reset': {
    severity: 'high',
    outcome: 'success',
    description: 'All factors of an account were removed, by an administrator or in a recovery.',
  },
  'mfa.challenged': {
    severity: 'info',
    outcome: 'failure',
    description: 'A route asked for a stronger or fresher proof than the session has.',
  },
  'mfa.device_remembered': {
    severity: 'info',
    outcome: 'success',
    description: 'A device may skip the second factor for a while.',
  },
  'mfa.device_revoked': {
    severity: 'info',
    outcome: 'success',
    description: 'Remembered devices were forgotten.',
  },
} as const satisfies SecurityEventTable
