/** The security events that this plugin emits, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'incident_response.opened': {
      incidentId: string
      type: string
      incidentSeverity: string
      title: string
    }
    'incident_response.transitioned': { incidentId: string; from: string; to: string; by: string }
    'incident_response.acknowledged': { incidentId: string; by: string }
    'incident_response.escalated': { incidentId: string; level: number; reason: string }
    'incident_response.action_executed': {
      incidentId: string
      runId: string
      step: string
      action: string
      /** The idempotency key that the action received. */
      key: string
      isUndo: boolean
    }
    'incident_response.action_failed': {
      incidentId: string
      runId: string
      step: string
      action: string
      attempts: number
      reason: string
      /** Whether a person must look: what the action has done is unknown, or its attempts are used up. */
      needsPerson: boolean
    }
    'incident_response.notification_failed': {
      incidentId: string
      notifier: string
      attempts: number
      reason: string
    }
    'incident_response.closed': { incidentId: string; resolution: string; by: string }
  }
}

/** The table of events; its descriptions are printed in the generated reference page. */
export const events = {
  'incident_response.opened': {
    severity: 'high',
    outcome: 'unknown',
    description: 'A first finding has opened an incident.',
  },
  'incident_response.transitioned': {
    severity: 'info',
    outcome: 'success',
    description: 'An incident went to another phase, by a person or by a playbook.',
  },
  'incident_response.acknowledged': {
    severity: 'info',
    outcome: 'success',
    description: 'A person takes care of an incident.',
  },
  'incident_response.escalated': {
    severity: 'high',
    outcome: 'failure',
    description: 'A deadline has passed without the reaction that it asks for.',
  },
  'incident_response.action_executed': {
    severity: 'medium',
    outcome: 'success',
    description: 'An action of a playbook, a response or a person was executed or undone.',
  },
  'incident_response.action_failed': {
    severity: 'high',
    outcome: 'failure',
    description:
      'An action has failed, or its result is unknown; `needsPerson` says whether it is tried again.',
  },
  'incident_response.notification_failed': {
    severity: 'high',
    outcome: 'failure',
    description: 'A message could not be delivered and is a dead letter.',
  },
  'incident_response.closed': {
    severity: 'info',
    outcome: 'success',
    description: 'An incident was closed.',
  },
} as const satisfies SecurityEventTable
