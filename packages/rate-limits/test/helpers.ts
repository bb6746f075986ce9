/** An app with a clock of its own, and what tests ask of it. */
import { createManualClock, type ManualClock, type SecurityEvent } from '@parapet/kit'
import { rateLimits, type RateLimitsOptions } from '@parapet/rate-limits'
import Fastify, {
  type FastifyInstance,
  type FastifyServerOptions,
  type InjectOptions,
  type LightMyRequestResponse,
} from 'fastify'
import type { Test } from 'tap'

export const MINUTE = 60_000
export const HOUR = 3_600_000

/** An app under test. */
export interface TestApp {
  readonly app: FastifyInstance
  readonly clock: ManualClock
  readonly events: SecurityEvent[]
  /** How often a handler ran. */
  readonly runs: () => number
  readonly handler: () => Promise<string>
  /** Sends a request from an address. */
  readonly send: (
    url: string,
    options?: InjectOptions & { readonly ip?: string },
  ) => Promise<LightMyRequestResponse>
}

/** Builds an app and registers the plugin; the test declares the routes. */
export async function createApp(
  t: Test,
  options: RateLimitsOptions = {},
  server: FastifyServerOptions = {},
  before: (app: FastifyInstance) => unknown = () => undefined,
): Promise<TestApp> {
  const clock = createManualClock()
  const app = Fastify(server)
  t.after(() => app.close())
  await before(app)
  await app.register(rateLimits, { clock, ...options })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  let runs = 0
  return {
    app,
    clock,
    events,
    runs: () => runs,
    handler: async () => {
      runs++
      return 'done'
    },
    send: async (url, { ip = '192.0.2.1', ...rest } = {}) =>
      app.inject({ method: 'GET', url, remoteAddress: ip, ...rest }),
  }
}

/** Sends `count` requests one after another. @returns their statuses. */
export async function sendMany(
  count: number,
  send: (index: number) => Promise<{ readonly statusCode: number }>,
): Promise<number[]> {
  const statuses: number[] = []
  for (let index = 0; index < count; index++) statuses.push((await send(index)).statusCode)
  return statuses
}

/** A list of the same status. */
export function times(count: number, status: number): number[] {
  return Array.from({ length: count }, () => status)
}
