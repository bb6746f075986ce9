/** What the tests of replies have in common: an app, the block, and bytes on a socket. */
import { connect, type AddressInfo } from 'node:net'
import { securityHeaders, type SecurityHeadersOptions } from '@parapet/security-headers'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'

export type Headers = Readonly<Record<string, unknown>>

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

/** The whole block: each header as the app says it, unless it is one of `but`. */
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

/** A day that a waiver may end on. */
export function nextMonth(): string {
  return new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10)
}

export interface RawReply {
  readonly status: number
  readonly headers: Headers
}

/** Sends bytes and reads the head of the last of so many replies. */
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
      if (heads.length >= replies && heads[replies - 1]!.includes('\r\n\r\n')) socket.destroy()
    })
    // A server that has heard enough hangs up on what is still on its way, once it has answered.
    socket.on('error', (error) => void (text === '' && reject(error)))
    socket.on('close', () => resolve(readHead(t, text.split(/(?=HTTP\/1\.1 \d{3} )/)[replies - 1])))
  })
}

function readHead(t: Test, reply = ''): RawReply {
  const [status = '', ...lines] = reply.split('\r\n\r\n', 1)[0]!.split('\r\n')
  const pairs = lines.map((line) => [
    line.slice(0, line.indexOf(':')).toLowerCase(),
    line.slice(line.indexOf(':') + 1).trim(),
  ])
  t.equal(new Set(pairs.map(([key]) => key)).size, pairs.length, 'no header is sent twice')
  return { status: Number(status.split(' ')[1]), headers: Object.fromEntries(pairs) as Headers }
}
