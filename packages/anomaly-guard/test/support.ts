/** What the tests of this package share. */
import {
  createManualClock,
  type ManualClock,
  type Principal,
  type SecurityEvent,
} from '@parapet/kit'
import { anomalyGuard, type AnomalyGuardOptions } from '@parapet/anomaly-guard'
import Fastify, { type FastifyInstance, type LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'

export interface Built {
  readonly app: FastifyInstance
  readonly clock: ManualClock
  readonly events: SecurityEvent[]
  /** URLs whose handler ran. */
  readonly handled: string[]
  /** Sends a request from an address. */
  readonly send: (
    url: string,
    address?: string,
    more?: SendOptions,
  ) => Promise<LightMyRequestResponse>
  /** Fails a login from an address. */
  readonly failLogin: (
    address: string,
    account?: string,
    password?: string,
  ) => Promise<LightMyRequestResponse>
  readonly eventsOf: (type: string) => SecurityEvent[]
}

interface SendOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'HEAD' | 'OPTIONS'
  readonly headers?: Record<string, string>
  readonly payload?: string | object
}

/** Users by the header x-user, as a login of the app would find them. */
export const principal = (request: {
  readonly headers: Record<string, unknown>
}): Principal | null => {
  const id = request.headers['x-user']
  if (typeof id !== 'string') return null
  const session = request.headers['x-session']
  return {
    id,
    roles: ['user'],
    ...(typeof session === 'string' ? { sessionId: session } : undefined),
  }
}

/** An app with a login, resources and exports; time moves by the clock only. */
export async function build(t: Test, options: AnomalyGuardOptions = {}): Promise<Built> {
  const clock = (options.clock as ManualClock | undefined) ?? createManualClock()
  const app = Fastify({ trustProxy: 'loopback' })
  t.after(() => app.close())
  const { principal: own, ...rest } = options
  await app.register(anomalyGuard, {
    mode: 'enforce',
    behaviour: { enabled: false },
    ...rest,
    clock,
    ...(own === undefined ? undefined : { principal: own }),
  })
  // A login that is not Parapet's own, registered after the guard.
  app.addHook('onRequest', async (request) => {
    const found = principal(request)
    if (found !== null) request.principal = found
  })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const handled: string[] = []
  const answer = async (request: { readonly url: string }) => {
    handled.push(request.url)
    return { ok: true }
  }
  app.get('/', answer)
  app.post('/', answer)
  app.post<{ Body: { account?: string; password?: string } }>('/login', async (request, reply) => {
    handled.push(request.url)
    const { account = 'alice', password = 'wrong' } = request.body ?? {}
    if (password === 'right') {
      request.anomaly.succeed('login', { account })
      return { ok: true }
    }
    request.anomaly.fail('login', { account, secret: password })
    return reply.code(401).send({ ok: false })
  })
  app.get('/items/:id', answer)
  app.get('/export', { config: { anomaly: { tag: 'export' } } }, answer)
  app.get('/health', { config: { anomaly: { open: true, watch: false } } }, answer)
  await app.ready()
  const send: Built['send'] = (url, address = '192.0.2.1', more = {}) =>
    app.inject({
      method: more.method ?? 'GET',
      url,
      headers: { 'x-forwarded-for': address, ...more.headers },
      ...(more.payload === undefined ? undefined : { payload: more.payload }),
    })
  return {
    app,
    clock,
    events,
    handled,
    send,
    failLogin: (address, account = 'alice', password = 'wrong') =>
      send('/login', address, { method: 'POST', payload: { account, password } }),
    eventsOf: (type) => events.filter((event) => event.type === type),
  }
}

/** Asserts a refusal by the guard, and that the handler did not run. */
export function assertRefused(
  t: Test,
  built: Pick<Built, 'handled'>,
  reply: LightMyRequestResponse,
  status: number,
  code: string,
  name = code,
): void {
  t.equal(reply.statusCode, status, name)
  t.equal(reply.json<{ code: string }>().code, `PARAPET_ANOMALY_GUARD_${code}`, name)
  t.same(built.handled, [], `${name}: the handler did not run`)
}
