/** Security events of other plugins as signals, by the names of the events. */

/** What of an event becomes a signal. */
export interface EventMapping {
  /** The name of the signal. */
  readonly signal: string
  /** Where the event names the account that was aimed at: `principalId`, or a member of its details. */
  readonly account?: string
}

/** The part of a security event that is read. */
export interface EventLike {
  readonly type: string
  readonly ip?: string | undefined
  readonly principalId?: string | undefined
  readonly sessionId?: string | undefined
  readonly route?: string | undefined
  readonly details: object
}

/** The mappings that are known; the option `events` adds to them or replaces them. */
export const knownEvents: Readonly<Record<string, EventMapping>> = Object.freeze({
  'sessions.login_failed': { signal: 'login-failed', account: 'loginHash' },
  'sessions.login_succeeded': { signal: 'login-succeeded', account: 'principalId' },
  'sessions.token_refused': { signal: 'token-refused' },
  'sessions.reuse_detected': { signal: 'session-moved' },
  'mfa.failed': { signal: 'login-failed', account: 'principalId' },
  'mfa.locked': { signal: 'login-failed', account: 'principalId' },
  'mfa.verified': { signal: 'login-succeeded', account: 'principalId' },
  'rbac.denied': { signal: 'access-denied' },
  'field_encryption.denied': { signal: 'access-denied' },
  'rate_limits.exceeded': { signal: 'rate-limited' },
  'input_guard.rejected': { signal: 'input-refused' },
})

/** What an event says about a signal, without its time. */
export interface MappedEvent {
  readonly name: string
  readonly account: string | undefined
}

/** Creates the reader of events. @param extra mappings by type; `null` ignores a type. */
export function createEventReader(
  extra: Readonly<Record<string, EventMapping | null>>,
): (event: EventLike) => MappedEvent | undefined {
  const mappings = new Map<string, EventMapping | null>([
    ...Object.entries(knownEvents),
    ...Object.entries(extra),
  ])
  return (event) => {
    const mapping = mappings.get(event.type)
    // The guard's own events never feed a rule.
    if (!mapping || event.type.startsWith('anomaly_guard.')) return undefined
    const { signal, account } = mapping
    return { name: signal, account: account === undefined ? undefined : accountOf(event, account) }
  }
}

function accountOf({ principalId, details }: EventLike, member: string): string | undefined {
  if (member === 'principalId') return principalId
  const value = (details as Readonly<Record<string, unknown>>)[member]
  return typeof value === 'string' ? value : undefined
}
