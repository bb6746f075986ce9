/** What this plugin tells the security events, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'

/** How a session ended, or what was revoked. */
export type RevocationScope = 'token' | 'session' | 'user' | 'everyone' | 'access' | 'api-key'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'sessions.login_succeeded': { method: string }
    'sessions.login_failed': { method: string; loginHash: string | null }
    'sessions.refreshed': { generation: number; repeated: boolean }
    'sessions.reuse_detected': {
      presentedGeneration: number
      currentGeneration: number
      /** The store knows fewer rotations than the token: it was rolled back. */
      storeRolledBack: boolean
      startedIp: string | null
      startedUserAgent: string | null
    }
    'sessions.revoked': { scope: RevocationScope; reason: string }
    'sessions.token_refused': { reason: string }
    'sessions.key_rotated': { keyId: string; retiredKeyIds: string[] }
  }
}

/** The table of events; a test compares it with the README. */
export const events = {
  'sessions.login_succeeded': {
    severity: 'info',
    outcome: 'success',
    description: 'A caller proved who they are and a session began.',
  },
  'sessions.login_failed': {
    severity: 'low',
    outcome: 'failure',
    description: 'A login was refused: by the credential check or by the identity provider.',
  },
  'sessions.refreshed': {
    severity: 'info',
    outcome: 'success',
    description: 'A refresh token was exchanged for its successor.',
  },
  'sessions.reuse_detected': {
    severity: 'high',
    outcome: 'failure',
    description: 'A refresh token was used again after its successor: one of two holders stole it.',
  },
  'sessions.revoked': {
    severity: 'info',
    outcome: 'success',
    description: 'Tokens, sessions or an API key were revoked.',
  },
  'sessions.token_refused': {
    severity: 'low',
    outcome: 'failure',
    description: 'An access token or an API key was refused.',
  },
  'sessions.key_rotated': {
    severity: 'info',
    outcome: 'success',
    description: 'Another key signs from now on.',
  },
} as const satisfies SecurityEventTable
