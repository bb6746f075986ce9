/** Instances of a service that share one Redis, and faults of that Redis. */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import type { SecurityEvent, SecurityEventType } from '@parapet/kit'
import fastifyRedis from '@fastify/redis'
import { rateLimits, type RateLimitsOptions } from '@parapet/rate-limits'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Cluster, Redis } from 'ioredis'
import type { Test } from 'tap'

export const clientOptions = {
  lazyConnect: true,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  retryStrategy: () => 50,
} as const

/** An instance, and the commands that it sent. */
export interface Instance {
  readonly app: FastifyInstance
  readonly events: SecurityEvent[]
  /** Scripts that were run since the last reading. */
  readonly calls: () => number
  /** Keys of the last script. */
  readonly keys: () => number
  /** Sends a request from an address. */
  readonly send: (ip?: string) => Promise<{
    readonly statusCode: number
    readonly headers: Readonly<Record<string, unknown>>
  }>
}

/** Starts an instance with one route, `/`, under `rule`. */
export async function startInstance(
  t: Test,
  client: Redis | Cluster,
  rule: string | readonly string[],
  options: RateLimitsOptions = {},
  handler: (request: FastifyRequest) => Promise<string> = async () => 'done',
): Promise<Instance> {
  client.on('error', () => {})
  const app = Fastify()
  t.after(async () => {
    await app.close()
    client.disconnect()
  })
  let calls = 0
  let keys = 0
  const counted = new Proxy<Redis | Cluster>(client, {
    get(target, name): unknown {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (name === 'call' && String(args[0]).startsWith('EVAL')) {
          calls++
          keys = Number(args[2])
        }
        return Reflect.apply(value, target, args)
      }
    },
  })
  await app.register(fastifyRedis, { client: counted as Redis, closeClient: false })
  await app.register(rateLimits, { redis: app.redis, ...options })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  app.get('/', { config: { rateLimit: rule } }, handler)
  await app.ready()
  calls = 0
  return {
    app,
    events,
    calls() {
      const counted = calls
      calls = 0
      return counted
    },
    keys: () => keys,
    send: (ip = '192.0.2.1') => app.inject({ url: '/', remoteAddress: ip }),
  }
}

/** Waits for an event, unless it was emitted before. */
export async function emitted(
  { app, events }: Pick<Instance, 'app' | 'events'>,
  type: SecurityEventType,
): Promise<void> {
  if (events.some((event) => event.type === type)) return
  await new Promise<void>((resolve) => void app.securityEvents.on(type, () => resolve()))
}

/** One address in front of several servers, as a managed Redis has. */
export async function startSwitch(t: Test, first: number) {
  let target = first
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const upstream = connect(target, '127.0.0.1')
    for (const each of [socket, upstream]) {
      sockets.add(each)
      each.on('error', () => {})
      each.on('close', () => {
        sockets.delete(each)
        socket.destroy()
        upstream.destroy()
      })
    }
    socket.pipe(upstream).pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    port: (server.address() as AddressInfo).port,
    /** Leads new connections to another server, and closes the present ones. */
    switchTo(port: number) {
      target = port
      for (const socket of sockets) socket.destroy()
    },
  }
}
