/** What this plugin tells the security events, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'
import type { Reason } from './reasons.ts'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'rbac.denied': {
      /** The permissions the rule asked for. */
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
      /** One sentence for each change, at most 100 of them. */
      changes: readonly string[]
    }
    'rbac.role_granted': { role: string; grantee: string; until: number }
    'rbac.role_revoked': { role: string; grantee: string }
  }
}

/** The table of events; a test compares it with the README. */
export const events = {
  'rbac.denied': {
    severity: 'low',
    outcome: 'failure',
    description: 'A guard, or `authorize`, refused a caller.',
  },
  'rbac.allowed': {
    severity: 'info',
    outcome: 'success',
    description: 'A guard, or `authorize`, let a caller pass; a sample, off by default.',
  },
  'rbac.policy_published': {
    severity: 'medium',
    outcome: 'success',
    description: 'This instance published a new policy to the fleet.',
  },
  'rbac.role_granted': {
    severity: 'medium',
    outcome: 'success',
    description: 'A principal was given a role until a moment in time.',
  },
  'rbac.role_revoked': {
    severity: 'medium',
    outcome: 'success',
    description: 'A role granted for a time was taken back.',
  },
} as const satisfies SecurityEventTable
