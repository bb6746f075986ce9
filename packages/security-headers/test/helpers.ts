/** Helpers that the tests share: apps, the check of the header block, and raw requests. */
import { connect, type AddressInfo } from 'node:net'
import fastifyCookie from '@fastify/cookie'
import type { SecurityEvent } from '@parapet/kit'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify, {
  type FastifyInstance,
  type FastifyServerOptions,
  type InjectOptions,
} from 'fastify'
import type { Test } from 'tap'
import formbody from './formbody.ts'

export type Headers = Readonly<Record<string, unknown>>

/** An app with the plugin and no routes. */
export async function build(
  t: Test,
  options: SecurityHeadersOptions = {},
  server: FastifyServerOptions = {},
): Promise<FastifyInstance> {
  const app = Fastify(server)
  t.after(() => app.close())
  await app.register(securityHeaders, options)
  return app
}

/** Checks that a response carries the whole block of the app. @param but names that may differ. */
export function checkBlock(
  t: Test,
  app: FastifyInstance,
  headers: Headers,
  name: string,
  but: string[] = [],
): void {
  const expected = Object.entries(app.securityHeaders.headers).filter(([key]) => !but.includes(key))
  const sent = Object.fromEntries(expected.map(([key]) => [key, headers[key]]))
  t.same(sent, Object.fromEntries(expected), name)
}

export async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** A valid end date for a waiver. */
export function nextMonth(): string {
  return new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10)
}

export interface RawReply {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

/** Sends bytes over a socket and reads the last of `replies` responses. */
export function exchange(
  t: Test,
  port: number,
  bytes: string,
  { replies = 1, host = '127.0.0.1' } = {},
): Promise<RawReply> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => socket.write(bytes, 'latin1'))
    let text = ''
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      text += chunk
      const heads = text.split(/(?=HTTP\/1\.1 \d{3} )/)
      if (heads.length >= replies && isComplete(heads[replies - 1]!)) socket.destroy()
    })
    // The server may reset the connection after its response, while bytes are still in flight.
    socket.on('error', (error) => void (text === '' && reject(error)))
    socket.on('close', () =>
      resolve(readReply(t, text.split(/(?=HTTP\/1\.1 \d{3} )/)[replies - 1])),
    )
  })
}

/** Whether a response has its head, and as many bytes as its head announces. */
function isComplete(reply: string): boolean {
  const [head = '', ...body] = reply.split('\r\n\r\n')
  if (body.length === 0) return false
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
  return body.join('\r\n\r\n').length >= length
}

function readReply(t: Test, reply = ''): RawReply {
  const [head = '', ...body] = reply.split('\r\n\r\n')
  const [status = '', ...lines] = head.split('\r\n')
  const pairs = lines.map((line) => [
    line.slice(0, line.indexOf(':')).toLowerCase(),
    line.slice(line.indexOf(':') + 1).trim(),
  ])
  t.equal(new Set(pairs.map(([key]) => key)).size, pairs.length, 'every header is sent once')
  return {
    status: Number(status.split(' ')[1]),
    headers: Object.fromEntries(pairs) as Headers,
    body: body.join('\r\n\r\n'),
  }
}

/** An app with routes, and a record of what happened. */
export interface Site {
  readonly app: FastifyInstance
  readonly events: SecurityEvent[]
  /** The requests whose handler ran. */
  readonly handled: string[]
  readonly ask: (
    method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'OPTIONS',
    url: string,
    headers?: Record<string, string>,
  ) => Promise<Answer>
}

interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly headers: Headers
}

/** An app with cookies, forms and a few routes. */
export async function buildSite(
  t: Test,
  options: SecurityHeadersOptions = {},
  server: FastifyServerOptions = {},
): Promise<Site> {
  const app = Fastify(server)
  t.after(() => app.close())
  await app.register(fastifyCookie)
  await app.register(formbody)
  await app.register(securityHeaders, options)
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const handled: string[] = []
  app.addHook('preHandler', async ({ method, url }) => void handled.push(`${method} ${url}`))
  addRoutes(app)
  async function ask(
    method: string,
    url: string,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const reply = await app.inject({ method, url, headers } as InjectOptions)
    const body = reply.headers['content-type']?.toString().includes('json')
      ? reply.json<{ code?: string }>()
      : {}
    return { status: reply.statusCode, code: body.code, headers: reply.headers }
  }
  return { app, events, handled, ask }
}

function addRoutes(app: FastifyInstance): void {
  app.get('/data', async () => ({ data: 1 }))
  app.post('/data', async () => ({ data: 2 }))
  app.put('/data', async () => ({ data: 3 }))
  const reason = 'partners show it on their pages'
  app.get(
    '/badge',
    { config: { securityHeaders: { isolation: { scope: 'cross-site', reason } } } },
    async () => 'badge',
  )
  app.post(
    '/hook',
    { config: { securityHeaders: { csrfExempt: 'the sender signs the request' } } },
    async () => 'hook',
  )
}

/** An origin that no app trusts. */
export const FOREIGN = 'https://evil.example'
export const CROSS_SITE = 'PARAPET_SECURITY_HEADERS_CROSS_SITE'

/** The headers that a browser adds to a request. */
export function from(
  site: string,
  mode: string,
  dest: string,
  origin?: string,
): Record<string, string> {
  return {
    host: 'app.example',
    'sec-fetch-site': site,
    'sec-fetch-mode': mode,
    'sec-fetch-dest': dest,
    ...(origin === undefined ? {} : { origin }),
  }
}
