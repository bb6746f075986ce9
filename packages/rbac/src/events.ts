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
    }
    'rbac.allowed': {
      permissions: readonly string[]
      roles: readonly string[]
      reason: Reason
      policyDigest: string
    }
    'rbac.policy_published': {
      policyDigest: string
      previousDigest: string
      revision: number
      /** One sentence for each change, at most 100. */
      changes: readonly string[]
    }
    'rbac.role_granted': { role: string; grantee: string; until: number }
    'rbac.role_revoked': { role: string; grantee: string }
  }
}

/** The events. A test compares the table with the documentation. */
export const events = {
  'rbac.denied': {
    severity: 'low',
    outcome: 'failure',
    description: 'A route guard or `authorize` denied access.',
  },
  'rbac.allowed': {
    severity: 'info',
    outcome: 'success',
    description:
      'A route guard or `authorize` allowed access. Only a sample is emitted (`allowedSampleRatio`).',
  },
  'rbac.policy_published': {
    severity: 'medium',
    outcome: 'success',
    description: 'This instance published a policy.',
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
} as const satisfies SecurityEventTable
