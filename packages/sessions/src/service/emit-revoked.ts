/** Emits `sessions.revoked`. */
import type { SecurityEvents, SecurityEventSubject } from '@parapet/kit'
import type { RevocationScope } from '../events.ts'
import type { EndedSession } from '../session/end-session.ts'
import type { RequestLike } from '../users/request-like.ts'

/** Emits that something was revoked. */
export function emitRevoked(
  securityEvents: SecurityEvents,
  scope: RevocationScope,
  reason: string,
  subject: SecurityEventSubject = {},
  request?: RequestLike,
): void {
  securityEvents.emit('sessions.revoked', { ...subject, details: { scope, reason } }, request)
}

/** Emits that a session ended. */
export function emitEnded(
  securityEvents: SecurityEvents,
  { sessionId, userId: principalId }: EndedSession,
  reason: string,
  request?: RequestLike,
): void {
  emitRevoked(securityEvents, 'session', reason, { sessionId, principalId }, request)
}
