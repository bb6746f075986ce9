/** What the tests of this package share: an app with sessions, a user, and a device to log in with. */
import { createManualClock, type ManualClock, type SecurityEvent } from '@parapet/kit'
import {
  generateKey,
  generateSecret,
  sessions,
  type KeyInput,
  type SessionGrant,
  type SessionsOptions,
  type SessionUser,
} from '@parapet/sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { audience, issuer } from './names.ts'

export { audience, issuer } from './names.ts'
export const passphrase = 'correct horse battery staple'
/** Shared by all tests of a process: making it takes time. */
export const key: KeyInput = generateKey(passphrase)
export const secret = generateSecret()
export const reader: SessionUser = { id: 'user-1', roles: ['reader'] }

export interface Built {
  readonly app: FastifyInstance
  readonly clock: ManualClock
  readonly events: SecurityEvent[]
  /** Ids of the requests whose handler ran. */
  readonly handled: string[]
  /** Asks `GET /private` with an access token, and answers status and code. */
  readonly ask: (
    token: string | null,
  ) => Promise<{ status: number; code: string | undefined; body: string }>
  readonly start: (user?: SessionUser) => Promise<SessionGrant>
}

export const baseOptions: SessionsOptions = {
  issuer,
  audience,
  keys: { current: key },
  secrets: [secret],
}

export async function build(t: Test, options: Partial<SessionsOptions> = {}): Promise<Built> {
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const app = Fastify()
  t.after(() => app.close())
  await app.register(sessions, { ...baseOptions, clock, ...options })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const handled: string[] = []
  app.get('/private', async (request) => {
    handled.push(request.id)
    return { principal: request.principal, token: request.sessions }
  })
  app.get('/open', { config: { sessions: 'optional' } }, async (request) => ({
    principal: request.principal,
  }))
  app.post('/private', async (request) => {
    handled.push(request.id)
    return { id: request.principal?.id }
  })
  return {
    app,
    clock,
    events,
    handled,
    async ask(token) {
      const headers = token === null ? {} : { authorization: `Bearer ${token}` }
      const reply = await app.inject({ url: '/private', headers })
      const { code } = reply.json<{ code?: string }>()
      return { status: reply.statusCode, code, body: reply.body }
    },
    start: (user = reader) => app.sessions.start(user),
  }
}

/** Only the type and the details, for comparison. */
export function told(events: readonly SecurityEvent[], type: SecurityEvent['type']) {
  return events.filter((event) => event.type === type)
}
