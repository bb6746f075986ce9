/** Learns from finished requests: signals for the rules, and outcomes for the behaviour score. */
import type { Socket } from 'node:net'
import { missedRoute, type RouteRules } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createSessionMoves } from '../rules/session-moves.ts'
import type { Guard } from '../service/guard.ts'
import type { BehaviourWatch } from './behaviour-watch.ts'
import type { Client } from './client.ts'
import type { RequestGuard } from './request-anomaly.ts'
import { isRefused } from './request-state.ts'
import type { CompiledRoute } from './route-rule.ts'

/** See {@link addObserveHook}. */
export interface ObserveSettings {
  readonly guard: Guard
  readonly rules: RouteRules<CompiledRoute>
  readonly clientOf: (ip: string) => Client
  /** What `request.anomaly` holds, where a handler has used it. */
  readonly stateOf: (request: FastifyRequest) => RequestGuard | undefined
  readonly behaviour: BehaviourWatch | undefined
  readonly countryOf: ((address: string) => string | undefined) | undefined
}

/** Adds the hook. */
export function addObserveHook(app: FastifyInstance, settings: ObserveSettings): void {
  const observer = new Observer(settings)
  app.addHook('onResponse', function anomalyGuardObserve(request, reply, done) {
    observer.observe(request, reply)
    done()
  })
}

class Observer {
  readonly #settings: ObserveSettings
  readonly #moves = createSessionMoves()
  /** Bytes that a connection had sent after its last response. */
  readonly #sent = new WeakMap<Socket, number>()

  constructor(settings: ObserveSettings) {
    this.#settings = settings
  }

  observe(request: FastifyRequest, reply: FastifyReply): void {
    const { guard, rules, clientOf, behaviour, countryOf } = this.#settings
    const rule = rules.of(request.routeOptions)
    // What the guard refused itself must not lead to the next refusal.
    if (rule === missedRoute || rule?.isWatched === false || isRefused(request)) return
    guard.impact.request()
    const client = clientOf(request.ip)
    const { key: address } = client
    const { statusCode } = reply
    const principal = request.principal ?? undefined
    const amount = this.#bytesOf(request, reply)
    const isMatched = rule !== undefined && !(rule.isFallback && statusCode === 404)
    const route = isMatched ? `${request.method} ${rule.pattern}` : undefined
    const signal = {
      name: isMatched ? 'request' : 'unmatched',
      atMs: guard.tick(),
      address,
      principalId: principal?.id,
      sessionId: principal?.sessionId,
      account: undefined,
      secret: undefined,
      route,
      resource: isMatched ? idOf(request, rule) : pathOf(request),
      amount,
      statusCode,
    }
    guard.observe(signal)
    if (signal.resource !== undefined && isMatched) guard.observe({ ...signal, name: 'resource' })
    if (isMatched && rule.tag !== undefined && statusCode < 400) {
      guard.observe({ ...signal, name: rule.tag })
    }
    const country = countryOf?.(request.ip)
    if (signal.sessionId !== undefined) this.#followSession(request, signal, country)
    behaviour?.observe(request, reply, { ...signal, country }, client)
  }

  #followSession(
    request: FastifyRequest,
    signal: {
      readonly atMs: number
      readonly address: string
      readonly sessionId: string | undefined
      readonly principalId: string | undefined
    },
    country: string | undefined,
  ): void {
    const { atMs, address, sessionId } = signal
    if (sessionId === undefined) return
    const userAgent = request.headers['user-agent'] ?? ''
    const moved = this.#moves.observe({ sessionId, atMs, address, userAgent, country })
    if (moved !== undefined) {
      this.#settings.guard.observe({ ...signal, name: 'session-moved', moved })
    }
  }

  /** What left the server for this response; a stream has no `content-length`. */
  #bytesOf(request: FastifyRequest, reply: FastifyReply): number {
    // An injected request has no socket that counts.
    const { socket } = request.raw as { readonly socket?: Socket }
    const total: unknown = socket?.bytesWritten
    if (socket === undefined || typeof total !== 'number') {
      return Number(reply.getHeader('content-length') ?? 0) || 0
    }
    const before = this.#sent.get(socket) ?? 0
    this.#sent.set(socket, total)
    return Math.max(0, total - before)
  }
}

function idOf({ params }: FastifyRequest, { idParameter }: CompiledRoute): string | undefined {
  if (idParameter === undefined) return undefined
  const value = (params as Readonly<Record<string, unknown>> | undefined)?.[idParameter]
  return typeof value === 'string' ? value.slice(0, 200) : undefined
}

/** The path without its query. */
function pathOf({ url }: FastifyRequest): string {
  const end = url.indexOf('?')
  return url.slice(0, end === -1 ? 200 : Math.min(end, 200))
}
