/** The security events of this plugin and the types of their details. */
import type { SecurityEventTable } from '@parapet/kit'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'rate_limits.exceeded': {
      tier: string
      /** What the tier counts by, as `ip` or `account+ip`; never the value. */
      key: string
      limit: number
      retryAfterSeconds: number
      /** Whether the tier only reports. */
      dryRun: boolean
    }
    'rate_limits.abused': {
      tier: string
      key: string
      limit: number
      /** Refused requests in the window. */
      attempts: number
      /** Whether the attempts reach `abuse.containAttempts`, so that the address should be contained. */
      contain: boolean
    }
    'rate_limits.degraded': {
      reason: string
      /** Instances among which the limits are divided. */
      instances: number
    }
    'rate_limits.recovered': {
      downMs: number
      /** Keys whose local counts were added to Redis. */
      merged: number
    }
    'rate_limits.proxy_suspected': {
      /** The private address from which the requests come. */
      peer: string
      /** Distinct forwarded addresses that were seen. */
      clients: number
    }
  }
}

/** The table of events. `docs/reference/rate-limits.md` is generated from it. */
export const events = {
  'rate_limits.exceeded': {
    severity: 'low',
    outcome: 'failure',
    description:
      'A key exceeded a limit. Emitted for the first refusal of a key in a window, not for each.',
  },
  'rate_limits.abused': {
    severity: 'medium',
    outcome: 'failure',
    description:
      'A key went on far above its limit. The severity is high where the address should be contained.',
  },
  'rate_limits.degraded': {
    severity: 'high',
    outcome: 'failure',
    description: 'Redis does not answer; each instance admits its share of the limits.',
  },
  'rate_limits.recovered': {
    severity: 'info',
    outcome: 'success',
    description: 'Redis answers again, and local counts were added to it.',
  },
  'rate_limits.proxy_suspected': {
    severity: 'high',
    outcome: 'unknown',
    description:
      'Many forwarded addresses come from one private peer that is not trusted: all users share one limit.',
  },
} as const satisfies SecurityEventTable
