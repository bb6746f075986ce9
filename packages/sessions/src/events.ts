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
      /** `pwd`, `second-factor`, or `oidc:` and the name of the provider. */
      method: string
      /** A keyed hash of the login name, equal for equal names whatever their case; else `null`. */
      loginHash: string | null
    }
    'sessions.second_factor_requested': {
      /** The methods with which the user can finish the login. */
      methods: string[]
    }
    'sessions.elevated': {
      /** The methods that were shown (RFC 8176), separated by spaces. */
      method: string
      /** The id under which the session has ended. */
      previousSessionId: string
    }
    'sessions.refreshed': {
      generation: number
      /** The token before the newest one was sent, and got the same successor. */
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
    'sessions.api_key_created': {
      name: string
      roles: string[]
      scopes: string[]
      /** Milliseconds since the Unix epoch. */
      expiresAt: number
    }
    'sessions.api_key_rotated': { expiresAt: number }
    'sessions.revoked': { scope: RevocationScope; reason: string }
    'sessions.token_refused': {
      /** `malformed`, `unknown_key`, `signature`, `claims`, `expired`, `revoked` or `api_key`. */
      reason: string
    }
    'sessions.record_refused': {
      record: 'session' | 'api-key' | 'login'
      /** `unsealed`: it has no seal. `forged`: none of the secrets gives its seal. */
      reason: 'unsealed' | 'forged'
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
  'sessions.second_factor_requested': {
    severity: 'info',
    outcome: 'success',
    description: 'The first step of a login succeeded, and the second one is due.',
  },
  'sessions.elevated': {
    severity: 'info',
    outcome: 'success',
    description: 'A session got a new id and new tokens after its user showed another factor.',
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
  'sessions.api_key_created': {
    severity: 'info',
    outcome: 'success',
    description: 'An API key was created. Its id is the resource.',
  },
  'sessions.api_key_rotated': {
    severity: 'info',
    outcome: 'success',
    description: 'The secret of an API key was replaced.',
  },
  'sessions.revoked': {
    severity: 'info',
    outcome: 'success',
    description: 'A token, sessions of a user or of all users, or API keys were revoked.',
  },
  'sessions.token_refused': {
    severity: 'low',
    outcome: 'failure',
    description: 'An access token or an API key was refused.',
  },
  'sessions.record_refused': {
    severity: 'high',
    outcome: 'failure',
    description:
      'A stored session, API key or login was not written with one of the secrets. Its id is the resource.',
  },
  'sessions.key_rotated': {
    severity: 'info',
    outcome: 'success',
    description: 'A new key signs access tokens.',
  },
} as const satisfies SecurityEventTable
