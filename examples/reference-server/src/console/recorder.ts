/** Records what the console shows: the latest security events, and requests by minute. */
import { systemClock, type Clock, type SecurityEvent } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { shareRecords } from './fleet.ts'
import { createMinuteCounters, type MinuteCounters } from './minute-counters.ts'
import { createRecentEvents, type RecentEvents } from './recent-events.ts'

/** What is recorded. */
export interface ConsoleRecords {
  readonly events: RecentEvents
  readonly counters: MinuteCounters
  /** When this process began to record. */
  readonly since: number
}

declare module 'fastify' {
  interface FastifyInstance {
    readonly consoleRecords: ConsoleRecords
  }
}

/** The options of the plugin. */
export interface RecorderOptions {
  /** @default the system clock */
  readonly clock?: Clock | undefined
  /** Whether there are other instances, which share `app.store`. @default false */
  readonly isFleet?: boolean
}

const EVENTS = 2000
/** Three hours. */
const MINUTES = 180

async function consoleRecorderPlugin(
  app: FastifyInstance,
  { clock = systemClock, isFleet = false }: RecorderOptions,
): Promise<void> {
  const events = createRecentEvents(EVENTS)
  const counters = createMinuteCounters(clock.now, MINUTES)
  app.decorate('consoleRecords', { events, counters, since: clock.now() })
  if (isFleet) shareRecords(app, { events, counters, clock })

  app.securityEvents.on('*', (event: SecurityEvent) => {
    events.add(event)
    if (event.type === 'anomaly_guard.detected') counters.anomaly()
    if (event.severity === 'high' || event.severity === 'critical') counters.alarm()
  })
  app.addHook('onResponse', async (request, reply) => {
    // An open console would count itself all the time.
    if (request.routeOptions.config.isConsole === true) return
    counters.request(reply.statusCode, reply.elapsedTime)
  })
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Requests of the console are not in its charts. */
    readonly isConsole?: true
  }
}

/** Decorates `app.consoleRecords`. Register it before the plugins, so that refusals of theirs are counted. */
export const consoleRecorder = fp(consoleRecorderPlugin, {
  name: 'console-recorder',
  fastify: '5.x',
  dependencies: ['security-event-log'],
})
