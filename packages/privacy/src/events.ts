/** The security events that this plugin emits, and the details of each. No detail is personal data. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'privacy.request_opened': { request: string; type: string; dueAt: number }
    'privacy.request_closed': { request: string; type: string; state: string }
    'privacy.exported': { request: string; sources: number; records: number; bytes: number }
    'privacy.archive_sent': { request: string; bytes: number }
    'privacy.erased': { request: string; sources: number; processors: number }
    'privacy.erasure_failed': { request: string; part: string; attempts: number; reason: string }
    'privacy.part_failed': {
      request: string
      type: string
      part: string
      attempts: number
      reason: string
    }
    'privacy.removed': { request: string; sources: number }
    'privacy.consent_changed': { purpose: string; state: string; version: number }
    'privacy.consent_refused': {
      purpose: string
      reason: 'absent' | 'gpc' | 'anonymous' | 'missed'
    }
    'privacy.deadline_near': { request: string; type: string; percent: number; dueAt: number }
    'privacy.hold_changed': { hold: string; state: 'placed' | 'released' }
    'privacy.undelivered': { request: string; type: string }
    'privacy.swept': { source: string; found: number; removed: number; dryRun: boolean }
    'privacy.replayed': { entries: number; subjects: number }
  }
}

/** The table of events; its descriptions are printed in the generated reference page. */
export const events = {
  'privacy.request_opened': {
    severity: 'info',
    outcome: 'success',
    description: 'A subject opened a request; the deadline runs.',
  },
  'privacy.request_closed': {
    severity: 'info',
    outcome: 'success',
    description: 'A request was answered, rejected, withdrawn, or never confirmed.',
  },
  'privacy.exported': {
    severity: 'medium',
    outcome: 'success',
    description: 'The data of a subject was collected into an archive.',
  },
  'privacy.archive_sent': {
    severity: 'medium',
    outcome: 'success',
    description: 'An archive was downloaded.',
  },
  'privacy.erased': {
    severity: 'medium',
    outcome: 'success',
    description: 'A subject was erased from every source.',
  },
  'privacy.erasure_failed': {
    severity: 'high',
    outcome: 'failure',
    description: 'A part of an erasure failed; it is tried again.',
  },
  'privacy.part_failed': {
    severity: 'high',
    outcome: 'failure',
    description: 'A part of another request, or of a removal, failed; it is tried again.',
  },
  'privacy.removed': {
    severity: 'info',
    outcome: 'success',
    description: 'What an erasure had left anonymised was removed after the grace period.',
  },
  'privacy.consent_changed': {
    severity: 'info',
    outcome: 'success',
    description: 'A subject gave, refused or withdrew a consent.',
  },
  'privacy.consent_refused': {
    severity: 'low',
    outcome: 'failure',
    description: 'A request was refused because a consent is missing.',
  },
  'privacy.deadline_near': {
    severity: 'high',
    outcome: 'unknown',
    description: 'A request is open at 50, 80 or 100 percent of its time.',
  },
  'privacy.hold_changed': {
    severity: 'medium',
    outcome: 'success',
    description: 'A legal hold was placed or released.',
  },
  'privacy.undelivered': {
    severity: 'medium',
    outcome: 'failure',
    description: 'A message to a subject could not be sent; it is given up after a day.',
  },
  'privacy.swept': {
    severity: 'info',
    outcome: 'success',
    description: 'Records whose retention period had passed were found, and removed unless dry.',
  },
  'privacy.replayed': {
    severity: 'high',
    outcome: 'success',
    description: 'After a restore, subjects in the erasure ledger were erased again.',
  },
} as const satisfies SecurityEventTable
