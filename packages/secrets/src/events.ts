/** The security events of this plugin and the types of their details. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'secrets.loaded': { secrets: number; providers: readonly string[] }
    'secrets.rotated': { secret: string; version: string; overlapMs: number }
    'secrets.rotation_advanced': {
      secret: string
      rotationId: string
      /** The step that was done: both keys work until `retired`. */
      step: 'stored' | 'updated' | 'promoted' | 'retired'
    }
    'secrets.rotation_failed': { secret: string; step: string; reason: string }
    'secrets.expiring': { secret: string; expiresInMs: number }
    'secrets.stale': { secret: string; ageMs: number; reason: string }
    'secrets.leak_stopped': {
      secret: string
      where: 'reply' | 'header' | 'log'
      /** How many like it were not emitted since the last one. */
      suppressed: number
    }
  }
}

/** The table of events. `docs/reference/secrets.md` is generated from it. */
export const events = {
  'secrets.loaded': {
    severity: 'info',
    outcome: 'success',
    description: 'All secrets were loaded when the server started.',
  },
  'secrets.rotated': {
    severity: 'medium',
    outcome: 'success',
    description: 'A secret has a new value; the former one is accepted until the overlap ends.',
  },
  'secrets.rotation_advanced': {
    severity: 'info',
    outcome: 'success',
    description:
      'A step of the rotation of an API key is recorded: stored, accepted by its service, current, or the old key retired.',
  },
  'secrets.rotation_failed': {
    severity: 'high',
    outcome: 'failure',
    description: 'A hook or a step of a rotation failed. The former value stays current.',
  },
  'secrets.expiring': {
    severity: 'medium',
    outcome: 'unknown',
    description: 'A secret expires soon and was not replaced.',
  },
  'secrets.stale': {
    severity: 'high',
    outcome: 'failure',
    description: 'A secret could not be refreshed; its last value is used until maxStaleMs.',
  },
  'secrets.leak_stopped': {
    severity: 'critical',
    outcome: 'failure',
    description:
      'A reply or a log line contained a loaded secret and was stopped; once a minute for each secret and place.',
  },
} as const satisfies SecurityEventTable
