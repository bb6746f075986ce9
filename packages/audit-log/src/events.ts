/** The security events that this plugin emits, with the details of each. */
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
    'audit_log.record_lost': { count: number }
    'audit_log.spool_failed': { reason: string }
    'audit_log.spool_repaired': { cutBytes: number }
    'audit_log.store_lost': { reason: string }
    'audit_log.store_recovered': { downMs: number }
    'audit_log.sink_failed': { sink: string; reason: string }
    'audit_log.entry_rejected': { sink: string; index: number; reason: string }
    'audit_log.inbox_refused': { count: number; forged: number; replayed: number }
    'audit_log.cursor_refused': { sink: string; position: number }
    'audit_log.stalled': { oldestUnsequencedMs: number; problem: string }
    'audit_log.stall_ended': { stalledMs: number }
    'audit_log.tampering_found': { problem: string }
    'audit_log.log_recovered': { seenSize: number; storedSize: number; reshipped: number }
    'audit_log.witness_failed': { reason: string }
    'audit_log.witness_refused': { problem: string }
    'audit_log.subject_erased': { subject: string; keys: number; values: number }
    'audit_log.read_refused': Record<string, never>
    'audit_log.erasure_undone': { subject: string }
    'audit_log.log_pruned': { before: number }
  }
}

/** Severity, outcome and description of each event. */
export const events = {
  'audit_log.alert_raised': {
    severity: 'high',
    outcome: 'failure',
    description: 'An alert rule matched. The severity of the event is that of the rule.',
  },
  'audit_log.record_refused': {
    severity: 'high',
    outcome: 'failure',
    description: 'A record of a closed action could not be stored; the request was refused.',
  },
  'audit_log.record_dropped': {
    severity: 'critical',
    outcome: 'failure',
    description: 'Records of open actions could not be stored; a gap record follows later.',
  },
  'audit_log.record_lost': {
    severity: 'critical',
    outcome: 'failure',
    description:
      'The store lost records that it had acknowledged, and the log went on before they were shipped again.',
  },
  'audit_log.spool_failed': {
    severity: 'critical',
    outcome: 'failure',
    description: 'A write to the spool failed, or a spool file is damaged.',
  },
  'audit_log.spool_repaired': {
    severity: 'medium',
    outcome: 'success',
    description: 'The start of the plugin removed or skipped damaged bytes in the spool.',
  },
  'audit_log.store_lost': {
    severity: 'high',
    outcome: 'failure',
    description: 'The store does not accept records; they wait in the spool.',
  },
  'audit_log.store_recovered': {
    severity: 'info',
    outcome: 'success',
    description: 'The store accepts records again.',
  },
  'audit_log.sink_failed': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A delivery to a sink, or publishing a checkpoint, failed. Sinks are retried.',
  },
  'audit_log.entry_rejected': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A sink rejected an entry for good; it was written to dead-letters.',
  },
  'audit_log.inbox_refused': {
    severity: 'high',
    outcome: 'failure',
    description:
      'The inbox contained rows that no writer of this log made, that are invalid, or that are in the log already.',
  },
  'audit_log.cursor_refused': {
    severity: 'critical',
    outcome: 'failure',
    description:
      'The stored position of a sink was edited; the sink receives everything after its last known position again.',
  },
  'audit_log.stalled': {
    severity: 'critical',
    outcome: 'failure',
    description: 'A record waits longer than `stallMs` for the log.',
  },
  'audit_log.stall_ended': {
    severity: 'info',
    outcome: 'success',
    description: 'Records enter the log again.',
  },
  'audit_log.tampering_found': {
    severity: 'critical',
    outcome: 'failure',
    description: 'The stored log was changed, shortened or damaged; sequencing stopped.',
  },
  'audit_log.log_recovered': {
    severity: 'high',
    outcome: 'success',
    description: 'The log goes on after its store lost the last entries; see `audit-log recover`.',
  },
  'audit_log.witness_failed': {
    severity: 'medium',
    outcome: 'failure',
    description:
      'The witness did not cosign the latest checkpoint; it is asked again. Emitted when the reason changes.',
  },
  'audit_log.witness_refused': {
    severity: 'critical',
    outcome: 'failure',
    description:
      'The stored log does not continue what the witness cosigned: it was rolled back, rewritten or forked.',
  },
  'audit_log.subject_erased': {
    severity: 'info',
    outcome: 'success',
    description: 'The personal values of a subject were erased.',
  },
  'audit_log.read_refused': {
    severity: 'medium',
    outcome: 'failure',
    description: 'The guard refused a read of the log.',
  },
  'audit_log.erasure_undone': {
    severity: 'critical',
    outcome: 'failure',
    description:
      'The keys of an erased subject exist again, for example after a backup was restored. Its values are not revealed; erase it again.',
  },
  'audit_log.log_pruned': {
    severity: 'info',
    outcome: 'success',
    description: 'Entries past their retention time were removed.',
  },
} as const satisfies SecurityEventTable
