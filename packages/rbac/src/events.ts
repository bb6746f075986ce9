/** The security events of this plugin and their details. */
import type { SecurityEventTable } from '@parapet/kit'
import type { Reason } from './decide/reasons.ts'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'rbac.denied': {
      /** The permissions that were required. */
      permissions: readonly string[]
      roles: readonly string[]
      reason: Reason
      policyDigest: string
      /**
       * 0: this event is one denial, the first of its kind in a minute. Otherwise the number of further
       * ones until the end of that minute: same route, principal (or client), permissions and reason.
       */
      suppressed: number
    }
    'rbac.allowed': {
      permissions: readonly string[]
      roles: readonly string[]
      reason: Reason
      policyDigest: string
    }
    'rbac.denial_reported': {
      permissions: readonly string[]
      roles: readonly string[]
      reason: Reason
      policyDigest: string
      /** As in `rbac.denied`. */
      suppressed: number
    }
    'rbac.routes_undeclared': {
      /** At most 100 of them. */
      routes: readonly string[]
      count: number
    }
    'rbac.policy_published': {
      policyDigest: string
      previousDigest: string
      revision: number
      /** One sentence for each change, at most 100. */
      changes: readonly string[]
      reason?: string
    }
    /** The details have at most 100 sentences of each list. */
    'rbac.policy_differs': {
      policyDigest: string
      optionDigest: string
      /** What the option would change. */
      changes: readonly string[]
    }
    'rbac.waiver_ended': { findings: readonly string[] }
    'rbac.report_ended': {
      /** The last day of the mode. */
      until: string
      reason: string
    }
    'rbac.role_granted': {
      role: string
      grantee: string
      /** Milliseconds since the Unix epoch; absent: at once. */
      from?: number
      until: number
      reason?: string
    }
    'rbac.role_revoked': { role: string; grantee: string; reason?: string }
    'rbac.relations_changed': {
      /** As `document:1#viewer@user:ann`, at most 100 of each; ids are escaped by `encodeURIComponent`. */
      added: readonly string[]
      removed: readonly string[]
      count: number
      /** `false`: part of a transaction of the application, which had not ended. Absent: it is stored. */
      isCommitted?: boolean
      reason?: string
    }
  }
}

/** The events. A test compares the table with the documentation. */
export const events = {
  'rbac.denied': {
    severity: 'low',
    outcome: 'failure',
    description:
      'A route guard or `authorize` denied access. Repetitions within a minute are one further event with their number (`suppressed`).',
  },
  'rbac.allowed': {
    severity: 'info',
    outcome: 'success',
    description:
      'A route guard or `authorize` allowed access. Only a sample is emitted (`allowedSampleRatio`).',
  },
  'rbac.denial_reported': {
    severity: 'low',
    outcome: 'success',
    description:
      'The mode `report` allowed access that would have been denied. Repetitions are folded as those of `rbac.denied`.',
  },
  'rbac.routes_undeclared': {
    severity: 'medium',
    outcome: 'success',
    description: 'The app started in the mode `report` with routes that have no rule.',
  },
  'rbac.policy_published': {
    severity: 'medium',
    outcome: 'success',
    description: 'This instance published a policy.',
  },
  'rbac.policy_differs': {
    severity: 'medium',
    outcome: 'unknown',
    description:
      'The app started with the policy of the policy store, which differs from its option `policy`.',
  },
  'rbac.waiver_ended': {
    severity: 'medium',
    outcome: 'unknown',
    description: 'The app started with mistakes in its policy whose waivers have ended.',
  },
  'rbac.report_ended': {
    severity: 'high',
    outcome: 'unknown',
    description: 'The app started after the last day of the mode `report`, so it refuses requests.',
  },
  'rbac.role_granted': {
    severity: 'medium',
    outcome: 'success',
    description: 'A role was granted to a principal for a limited time.',
  },
  'rbac.role_revoked': {
    severity: 'medium',
    outcome: 'success',
    description: 'A role that was granted for a limited time was revoked.',
  },
  'rbac.relations_changed': {
    severity: 'low',
    outcome: 'success',
    description:
      'Relations between principals and resources were added or removed. In a transaction of the application, they are in force once it is committed.',
  },
} as const satisfies SecurityEventTable
