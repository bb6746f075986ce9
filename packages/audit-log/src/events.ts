/** What this plugin tells the security events, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'audit_log.alert_raised': {
      alertId: string
      rule: string
      key: string
      count: number
      index: number
    }
    'audit_log.record_refused': { action: string }
    'audit_log.record_dropped': { count: number }
    'audit_log.spool_failed': { reason: string }
    'audit_log.spool_repaired': { cutBytes: number }
    'audit_log.store_lost': { reason: string }
    'audit_log.store_recovered': { downMs: number }
    'audit_log.sink_failed': { sink: string; reason: string }
    'audit_log.entry_rejected': { sink: string; index: number; reason: string }
    'audit_log.inbox_refused': { count: number }
    'audit_log.tampering_found': { problem: string }
    'audit_log.subject_erased': { subject: string; keys: number; values: number }
    'audit_log.log_pruned': { before: number }
  }
}

/** The table of events; a test compares it with the README. */
export const events = {
  'audit_log.alert_raised': {
    severity: 'high',
    outcome: 'failure',
    description: 'An alert rule was met; the severity is that of the rule.',
  },
  'audit_log.record_refused': {
    severity: 'high',
    outcome: 'failure',
    description: 'A record could not be stored and its action was refused.',
  },
  'audit_log.record_dropped': {
    severity: 'critical',
    outcome: 'failure',
    description: 'Records of open actions were not stored; a gap record tells so.',
  },
  'audit_log.spool_failed': {
    severity: 'critical',
    outcome: 'failure',
    description: 'The disk refused the spool, or damaged it.',
  },
  'audit_log.spool_repaired': {
    severity: 'medium',
    outcome: 'success',
    description: 'A torn tail of the spool was cut off, or damage in it passed over.',
  },
  'audit_log.store_lost': {
    severity: 'high',
    outcome: 'failure',
    description: 'The store does not take records; they wait in the spool.',
  },
  'audit_log.store_recovered': {
    severity: 'info',
    outcome: 'success',
    description: 'The store takes records again.',
  },
  'audit_log.sink_failed': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A sink did not take a delivery; it is tried again.',
  },
  'audit_log.entry_rejected': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A sink will never take an entry; it went to the dead letters.',
  },
  'audit_log.inbox_refused': {
    severity: 'high',
    outcome: 'failure',
    description: 'The inbox held rows that no writer of this log made.',
  },
  'audit_log.tampering_found': {
    severity: 'critical',
    outcome: 'failure',
    description: 'The stored log is not the one seen before, or damaged; sequencing stopped.',
  },
  'audit_log.subject_erased': {
    severity: 'info',
    outcome: 'success',
    description: 'The personal values of a subject were erased.',
  },
  'audit_log.log_pruned': {
    severity: 'info',
    outcome: 'success',
    description: 'Entries beyond their retention were removed.',
  },
} as const satisfies SecurityEventTable
