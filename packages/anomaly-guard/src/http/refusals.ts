/** Refuses contained requests: the right error, `Retry-After`, and one event a minute for each containment. */
import type { SecurityEvents } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Containment } from '../contain/containment.ts'
import {
  PARAPET_ANOMALY_GUARD_BLOCKED,
  PARAPET_ANOMALY_GUARD_LOCKDOWN,
  PARAPET_ANOMALY_GUARD_READ_ONLY,
  PARAPET_ANOMALY_GUARD_TIGHTENED,
} from '../errors.ts'

/** Reports refusals, at most one event a minute for each kind. */
export class RefusalLog {
  readonly #events: SecurityEvents
  readonly #now: () => number
  readonly #minutes = new Map<string, { until: number; suppressed: number }>()

  constructor(events: SecurityEvents, now: () => number) {
    this.#events = events
    this.#now = now
  }

  /** @param reason the kind of the containment, or `inspection` and the like */
  note(reason: string, containment: Containment | undefined, request: FastifyRequest): void {
    const now = this.#now()
    const key = containment?.id ?? `${reason} ${request.ip}`
    const minute = this.#minutes.get(key)
    if (minute !== undefined && minute.until > now) {
      minute.suppressed++
      return
    }
    if (this.#minutes.size >= MAX_MINUTES) this.#minutes.delete(this.#minutes.keys().next().value!)
    this.#minutes.delete(key)
    this.#minutes.set(key, { until: now + MINUTE_MS, suppressed: 0 })
    const details = {
      containmentId: containment?.id ?? null,
      reason,
      suppressed: minute?.suppressed ?? 0,
    }
    this.#events.emit('anomaly_guard.refused', { details }, request)
  }
}

const MINUTE_MS = 60_000
const MAX_MINUTES = 10_000

/** The error of a containment that refuses; sets `Retry-After`. */
export function refuse({ kind, until }: Containment, reply: FastifyReply, now: number): Error {
  reply.header('retry-after', String(Math.max(1, Math.ceil((until - now) / 1000))))
  if (kind === 'lockdown') return new PARAPET_ANOMALY_GUARD_LOCKDOWN()
  if (kind === 'read-only') return new PARAPET_ANOMALY_GUARD_READ_ONLY()
  if (kind === 'tighten') {
    reply.header('retry-after', '60')
    return new PARAPET_ANOMALY_GUARD_TIGHTENED()
  }
  return new PARAPET_ANOMALY_GUARD_BLOCKED()
}
