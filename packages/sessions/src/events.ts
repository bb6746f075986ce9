/** The security events of this plugin, and the details of each. */
import type { SecurityEventTable } from '@parapet/kit'

/** What was revoked. */
export type RevocationScope = 'token' | 'session' | 'user' | 'everyone' | 'access' | 'api-key'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'sessions.login_succeeded': {
      /** The methods (RFC 8176), separated by spaces. */
      method: string
    }
    'sessions.login_failed': {
      /** `pwd`, or `oidc:` and the name of the provider. */
      method: string
      /** A keyed hash of the login name: equal for equal names. `null` for a provider. */
      loginHash: string | null
    }
    'sessions.refreshed': {
      generation: number
      /** The token before the newest one was sent within the grace period. */
      repeated: boolean
    }
    'sessions.reuse_detected': {
      presentedGeneration: number
      currentGeneration: number
      /** The token is newer than the stored session: the store was restored from a backup. */
      storeRolledBack: boolean
      startedIp: string | null
      startedUserAgent: string | null
    }
    'sessions.revoked': { scope: RevocationScope; reason: string }
    'sessions.token_refused': {
      /** `malformed`, `unknown_key`, `signature`, `claims`, `expired`, `revoked` or `api_key`. */
      reason: string
    }
    'sessions.key_rotated': { keyId: string; retiredKeyIds: string[] }
  }
}

/** The event table. */
export const events = {
  'sessions.login_succeeded': {
    severity: 'info',
    outcome: 'success',
    description: 'A user logged in and a session started.',
  },
  'sessions.login_failed': {
    severity: 'low',
    outcome: 'failure',
    description: 'The credential check or the identity provider refused a login.',
  },
  'sessions.refreshed': {
    severity: 'info',
    outcome: 'success',
    description: 'A refresh token was exchanged for new tokens.',
  },
  'sessions.reuse_detected': {
    severity: 'high',
    outcome: 'failure',
    description: 'A refresh token was used twice, so it may be stolen. The session was ended.',
  },
  'sessions.revoked': {
    severity: 'info',
    outcome: 'success',
    description: 'A token, a session, all sessions of a user or all sessions were revoked.',
  },
  'sessions.token_refused': {
    severity: 'low',
    outcome: 'failure',
    description: 'An access token or an API key was refused.',
  },
  'sessions.key_rotated': {
    severity: 'info',
    outcome: 'success',
    description: 'A new key signs access tokens.',
  },
} as const satisfies SecurityEventTable
