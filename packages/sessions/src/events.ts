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
      /** `pwd`, `second-factor`, or `oidc:` and the name of the provider, for links and step-ups as well. */
      method: string
      /** A keyed hash of the login name, equal for equal names whatever their case; else `null`. */
      loginHash: string | null
    }
    'sessions.second_factor_requested': {
      /** The methods with which the user can finish the login. */
      methods: string[]
    }
    'sessions.elevated': {
      /** The methods that were shown (RFC 8176), separated by spaces; `oidc:` and the provider where it was one. */
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
    'sessions.new_device': {
      /** What kind of device it is: `Firefox on Linux`. */
      label: string
      /** Approximately, as the option `placeOf` says it. */
      place: string | null
    }
    'sessions.link_requested': {
      /** `reset`, `verify`, `magic` or `sign-up`. */
      kind: string
      /** A keyed hash of the address, as in `sessions.login_failed`. */
      loginHash: string
    }
    'sessions.password_reset': Readonly<Record<string, never>>
    'sessions.password_changed': Readonly<Record<string, never>>
    'sessions.email_verified': Readonly<Record<string, never>>
    'sessions.email_changed': Readonly<Record<string, never>>
    'sessions.email_change_undone': Readonly<Record<string, never>>
    'sessions.factor_undone': Readonly<Record<string, never>>
    'sessions.account_locked': {
      reason: string
      /** Milliseconds since the Unix epoch; `null`: until it is unlocked. */
      until: number | null
      by: string | null
    }
    'sessions.account_unlocked': { reason: string; by: string | null }
    'sessions.password_reset_required': { reason: string; by: string | null }
    'sessions.password_reset_lifted': { reason: string; by: string | null }
    'sessions.second_factor_forced': { reason: string; by: string | null }
    'sessions.second_factor_lifted': { reason: string; by: string | null }
    'sessions.identity_linked': {
      /** The name of the provider; the id of the link is the resource. */
      provider: string
      /** The user at the provider. */
      subject: string
    }
    'sessions.identity_unlinked': { provider: string; subject: string; reason: string }
    'sessions.impersonation_started': {
      reason: string
      /** Milliseconds since the Unix epoch. */
      endsAt: number
    }
    'sessions.record_refused': {
      record: 'session' | 'api-key' | 'login' | 'account-token' | 'account' | 'identity'
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
  'sessions.new_device': {
    severity: 'low',
    outcome: 'success',
    description: 'A user logged in from a device or network that was not seen before.',
  },
  'sessions.link_requested': {
    severity: 'info',
    outcome: 'success',
    description: 'A link was requested for an address, whether it has an account or not.',
  },
  'sessions.password_reset': {
    severity: 'medium',
    outcome: 'success',
    description: 'A password was replaced by a link. All sessions of the user were ended.',
  },
  'sessions.password_changed': {
    severity: 'medium',
    outcome: 'success',
    description: 'A user changed the own password. All other sessions of the user were ended.',
  },
  'sessions.email_verified': {
    severity: 'info',
    outcome: 'success',
    description: 'A user verified the address of the account.',
  },
  'sessions.email_changed': {
    severity: 'medium',
    outcome: 'success',
    description:
      'The address of an account was replaced. The former one has a way back for 72 hours.',
  },
  'sessions.email_change_undone': {
    severity: 'high',
    outcome: 'success',
    description:
      'The owner of a former address took it back. All access was ended, the password is due.',
  },
  'sessions.factor_undone': {
    severity: 'high',
    outcome: 'success',
    description:
      'The owner removed second factors that someone else had enrolled. All access was ended, the password is due.',
  },
  'sessions.account_locked': {
    severity: 'high',
    outcome: 'success',
    description: 'An account was locked. It is the resource.',
  },
  'sessions.account_unlocked': {
    severity: 'medium',
    outcome: 'success',
    description: 'An account was unlocked.',
  },
  'sessions.password_reset_required': {
    severity: 'medium',
    outcome: 'success',
    description: 'The next login of a user needs a new password.',
  },
  'sessions.second_factor_forced': {
    severity: 'medium',
    outcome: 'success',
    description: 'The sessions of a user need a second factor from now on.',
  },
  'sessions.password_reset_lifted': {
    severity: 'medium',
    outcome: 'success',
    description: 'The password of a user logs in again without a reset.',
  },
  'sessions.second_factor_lifted': {
    severity: 'medium',
    outcome: 'success',
    description: 'The sessions of a user need no second factor any more.',
  },
  'sessions.identity_linked': {
    severity: 'medium',
    outcome: 'success',
    description: 'An identity at a provider logs in as a user from now on.',
  },
  'sessions.identity_unlinked': {
    severity: 'medium',
    outcome: 'success',
    description: 'A link was removed, and the sessions that came from the identity were ended.',
  },
  'sessions.impersonation_started': {
    severity: 'high',
    outcome: 'success',
    description: 'An operator (the principal) acts as a user (the resource) in a session.',
  },
  'sessions.record_refused': {
    severity: 'high',
    outcome: 'failure',
    description:
      'A stored session, API key, login, link or account was not written with one of the secrets.',
  },
  'sessions.key_rotated': {
    severity: 'info',
    outcome: 'success',
    description: 'A new key signs access tokens.',
  },
} as const satisfies SecurityEventTable
