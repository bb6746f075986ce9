/** The security events that this plugin emits, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'anomaly_guard.detected': {
      anomalyId: string
      rule: string
      label: string
      mode: string
      /** Names and numbers: `count 5`, `limit 5`. */
      evidence: readonly string[]
      /** A keyed hash of the account that was aimed at. */
      account?: string
    }
    'anomaly_guard.incident_opened': {
      incidentId: string
      pattern: string
      label: string
      confidence: number
      /** Ids of anomalies. */
      evidence: readonly string[]
    }
    'anomaly_guard.contained': {
      containmentId: string
      kind: string
      target: string
      /** Milliseconds since the Unix epoch. */
      until: number
      reason: string
      level: number
      by: string | null
      anomalyId: string | null
    }
    'anomaly_guard.lifted': {
      containmentId: string
      kind: string
      target: string
      by: string | null
    }
    'anomaly_guard.refused': {
      /** The containment; `null` where the inspection or the country was the reason. */
      containmentId: string | null
      reason: string
      /** Further refusals of the same kind in the minute before. */
      suppressed: number
    }
    'anomaly_guard.challenge_answered': { passed: boolean }
    'anomaly_guard.cap_reached': { blocked: number; limit: number; reason: string }
    /** `kind` is `inspection` or `geo` where no containment was the reason. */
    'anomaly_guard.break_glass_used': { containmentId: string | null; kind: string }
    'anomaly_guard.mode_changed': { rule: string; mode: string; by: string }
    'anomaly_guard.feedback_given': {
      anomalyId: string
      rule: string
      verdict: string
      by: string
      lifted: number
    }
    'anomaly_guard.budget_exceeded': { rule: string; falsePositives: number; requests: number }
  }
}

/** The table of events; its descriptions are printed in the generated reference page. */
export const events = {
  'anomaly_guard.detected': {
    severity: 'medium',
    outcome: 'unknown',
    description:
      'A rule, the inspection or the behaviour score found an anomaly. In mode "shadow" its severity is info.',
  },
  'anomaly_guard.incident_opened': {
    severity: 'high',
    outcome: 'unknown',
    description: 'Anomalies with a common subject show an attack. Its first anomaly gives the id.',
  },
  'anomaly_guard.contained': {
    severity: 'high',
    outcome: 'success',
    description: 'A measure against a client, a principal or the whole service is in force.',
  },
  'anomaly_guard.lifted': {
    severity: 'medium',
    outcome: 'success',
    description: 'A measure was ended before its time.',
  },
  'anomaly_guard.refused': {
    severity: 'low',
    outcome: 'failure',
    description: 'Requests were refused: one event for each kind and minute.',
  },
  'anomaly_guard.challenge_answered': {
    severity: 'info',
    outcome: 'success',
    description: 'A client answered a challenge; the outcome is failure if the answer was refused.',
  },
  'anomaly_guard.cap_reached': {
    severity: 'critical',
    outcome: 'failure',
    description:
      'The guard would have blocked more clients than it may. It challenges them instead; a person must look.',
  },
  'anomaly_guard.break_glass_used': {
    severity: 'critical',
    outcome: 'success',
    description: 'A request passed a refusal with the break-glass token.',
  },
  'anomaly_guard.mode_changed': {
    severity: 'high',
    outcome: 'success',
    description: 'An operator changed the mode of a rule.',
  },
  'anomaly_guard.feedback_given': {
    severity: 'info',
    outcome: 'success',
    description: 'An operator said whether an anomaly was one.',
  },
  'anomaly_guard.budget_exceeded': {
    severity: 'high',
    outcome: 'failure',
    description: 'A rule had more false positives than its budget; it is in mode "shadow" again.',
  },
} as const satisfies SecurityEventTable
