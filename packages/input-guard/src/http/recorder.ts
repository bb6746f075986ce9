/** Emits the events of this plugin. Repetitions within a minute are counted instead of emitted. */
import { createEventFold, systemClock, useSecurityEvents, type Clock } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { events } from '../events.ts'

/** What {@link Recorder.rejected} reports. */
interface Rejection {
  readonly in: string
  readonly field: string
  readonly code: string
  readonly count: number
}

/** Emits events. */
export interface Recorder {
  rejected(request: FastifyRequest | undefined, rejection: Rejection): void
  /** @param place in the schema: repetitions of one place are counted. */
  sanitized(request: FastifyRequest, field: string, place: string): void
  fieldRemoved(request: FastifyRequest, field: string): void
}

/** One event a minute for each kind. The oldest kind makes room, so that a new one is always reported. */
const FOLD = { windowMs: 60_000, maxKeys: 1000, whenFull: 'evict' } as const
const MAX_FIELD = 128
const kRecorder = Symbol('input-guard:recorder')

/** The recorder of a server, if one was created at boot. */
export function findRecorder({ server }: FastifyInstance): Recorder | undefined {
  return (server as { [kRecorder]?: Recorder })[kRecorder]
}

/** Creates the recorder of a server; one for all contexts. */
export function createRecorder(app: FastifyInstance, clock: Clock = systemClock): Recorder {
  const server = app.server as { [kRecorder]?: Recorder }
  return (server[kRecorder] ??= newRecorder(app, clock))
}

function newRecorder(app: FastifyInstance, clock: Clock): Recorder {
  const bus = useSecurityEvents(app, events)
  const fold = createEventFold(FOLD, clock)
  return {
    rejected(request, rejection) {
      const field = rejection.field.slice(0, MAX_FIELD)
      // The address is part of the key, so that one client cannot hide the requests of another.
      const suppressed = fold(`r ${routeOf(request)} ${rejection.code} ${request?.ip ?? ''}`)
      if (suppressed === null) return
      const details = { ...rejection, field, suppressed }
      bus.emit('input_guard.rejected', { details }, request)
    },
    sanitized(request, path, place) {
      const field = path.slice(0, MAX_FIELD)
      const suppressed = fold(`s ${routeOf(request)} ${place.slice(0, MAX_FIELD)} ${request.ip}`)
      if (suppressed === null) return
      const details = { field, suppressed }
      bus.emit('input_guard.sanitized', { details }, request)
    },
    fieldRemoved(request, path) {
      const field = path.slice(0, MAX_FIELD)
      const suppressed = fold(`f ${routeOf(request)} ${field}`)
      if (suppressed === null) return
      request.log.warn(
        { field, route: routeOf(request) },
        'input-guard removed a member of a response that its schema does not declare',
      )
      const details = { field, suppressed }
      bus.emit('input_guard.field_removed', { details }, request)
    },
  }
}

function routeOf(request: FastifyRequest | undefined): string {
  return request?.routeOptions.url ?? ''
}
