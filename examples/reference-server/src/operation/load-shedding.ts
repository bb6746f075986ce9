/** Refuses requests while the process is overloaded, so that those that run still finish in time. */
import underPressure from '@fastify/under-pressure'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { PARAPET_REFERENCE_OVERLOADED } from '../errors.ts'

/** Load balancers, and operators who look why the server is slow, are answered also under load. */
const ANSWERED = new Set(['/health', '/ready', '/metrics'])
const SAMPLE_MS = 1000

/** The options of the plugin. */
export interface LoadSheddingOptions {
  /** How late the event loop may be, in milliseconds; 0: requests are never refused. */
  readonly maxEventLoopDelayMs: number
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether requests are refused now. */
    readonly isOverloaded: () => boolean
  }
}

async function loadSheddingPlugin(
  app: FastifyInstance,
  { maxEventLoopDelayMs }: LoadSheddingOptions,
): Promise<void> {
  await app.register(underPressure, {
    maxEventLoopDelay: maxEventLoopDelayMs,
    sampleInterval: SAMPLE_MS,
    pressureHandler: ({ routeOptions }) => {
      if (!app.isOverloaded() || ANSWERED.has(routeOptions.url ?? '')) return
      throw new PARAPET_REFERENCE_OVERLOADED()
    },
  })
  // The work of the start makes the loop late, too, but there are no requests that it could harm.
  app.decorate('isOverloaded', () => app.server.listening && app.isUnderPressure())
}

/** Register it after the plugins that record requests and set headers: its refusals have both. */
export const loadShedding = fp(loadSheddingPlugin, { name: 'load-shedding', fastify: '5.x' })
