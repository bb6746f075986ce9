/** Refuses contained requests: the right error, `Retry-After`, and one event a minute for each containment. */
import { createHash } from 'node:crypto'
import { createEventFold, secretsEqual, type Clock, type SecurityEvents } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Containment } from '../contain/containment.ts'
import {
  PARAPET_ANOMALY_GUARD_BLOCKED,
  PARAPET_ANOMALY_GUARD_LOCKDOWN,
  PARAPET_ANOMALY_GUARD_READ_ONLY,
  PARAPET_ANOMALY_GUARD_TIGHTENED,
} from '../errors.ts'

/** One event a minute for each kind. The oldest kind makes room, so that a new one is always reported. */
const FOLD = { windowMs: 60_000, maxKeys: 10_000, whenFull: 'evict' } as const

/** Reports refusals, at most one event a minute for each kind. */
export class RefusalLog {
  readonly #events: SecurityEvents
  readonly #fold: (key: string) => number | null

  readonly #breakGlass: string | undefined

  /** @param breakGlass see the option `breakGlassSha256` */
  constructor(events: SecurityEvents, clock: Pick<Clock, 'now'>, breakGlass?: string) {
    this.#events = events
    this.#breakGlass = breakGlass
    this.#fold = createEventFold(FOLD, clock)
  }

  /** @param reason the kind of the containment, or `inspection` and the like */
  note(reason: string, containment: Containment | undefined, request: FastifyRequest): void {
    const suppressed = this.#fold(containment?.id ?? `${reason} ${request.ip}`)
    if (suppressed === null) return
    const details = { containmentId: containment?.id ?? null, reason, suppressed }
    this.#events.emit('anomaly_guard.refused', { details }, request)
  }

  /** Whether the request has the break-glass token, so that it passes what would refuse it. */
  hasBreakGlass(
    reason: string,
    containment: Containment | undefined,
    request: FastifyRequest,
  ): boolean {
    const token = request.headers['break-glass']
    if (this.#breakGlass === undefined || typeof token !== 'string') return false
    const digest = createHash('sha256').update(token).digest('hex')
    if (!secretsEqual(digest, this.#breakGlass)) return false
    const details = { containmentId: containment?.id ?? null, kind: reason }
    this.#events.emit('anomaly_guard.break_glass_used', { details }, request)
    return true
  }
}

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
