/** What the tests of this package share: an app with sessions, a user, and requests with tokens. */
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
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { audience, issuer } from './names.ts'

export { audience, issuer } from './names.ts'
export const passphrase = 'correct horse battery staple'
/** Shared by all tests of a process, because generating a key takes time. */
export const key: KeyInput = generateKey(null)
export const secret = generateSecret()
export const reader: SessionUser = { id: 'user-1', roles: ['reader'] }

/** The result of a request to `GET /private`. */
interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly body: string
  readonly handlerRan: boolean
}

export interface Built {
  readonly app: FastifyInstance
  readonly clock: ManualClock
  readonly events: SecurityEvent[]
  /** The ids of the requests whose handler ran. */
  readonly handled: string[]
  /** Sends `GET /private` with an access token. */
  readonly ask: (token: string | null) => Promise<Answer>
  /** Asserts that `GET /private` is refused with 401 and that its handler does not run. */
  readonly refuses: (token: string | null, message?: string) => Promise<void>
  readonly start: (user?: SessionUser) => Promise<SessionGrant>
}

export const baseOptions: SessionsOptions = {
  issuer,
  audience,
  keys: { current: key },
  secrets: [secret],
}

export const unauthenticated = { status: 401, code: 'PARAPET_SESSIONS_UNAUTHENTICATED' }

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
  app.get('/open', { config: { sessions: 'optional' } }, async (request) => {
    handled.push(request.id)
    return { principal: request.principal }
  })
  app.post('/private', async (request) => {
    handled.push(request.id)
    return { id: request.principal?.id }
  })
  async function ask(token: string | null): Promise<Answer> {
    const headers = token === null ? {} : { authorization: `Bearer ${token}` }
    const before = handled.length
    const reply = await app.inject({ url: '/private', headers })
    const handlerRan = handled.length > before
    return { status: reply.statusCode, code: codeOf(reply), body: reply.body, handlerRan }
  }
  return {
    app,
    clock,
    events,
    handled,
    ask,
    async refuses(token, message = 'refused') {
      const { status, code, handlerRan } = await ask(token)
      t.same({ status, code, handlerRan }, { ...unauthenticated, handlerRan: false }, message)
    },
    start: (user = reader) => app.sessions.start(user),
  }
}

/** The code of an error response; `undefined` for a response without a JSON body. */
export function codeOf(reply: LightMyRequestResponse): string | undefined {
  if (reply.body === '' || !String(reply.headers['content-type']).includes('json')) return undefined
  return reply.json<{ code?: string } | null>()?.code
}

/** Status and code of a response, to be compared at once. */
export function refusalOf(reply: LightMyRequestResponse): [number, string | undefined] {
  return [reply.statusCode, codeOf(reply)]
}

/** The events of one type. */
export function eventsOf(events: readonly SecurityEvent[], type: SecurityEvent['type']) {
  return events.filter((event) => event.type === type)
}
