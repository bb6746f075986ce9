/** Learns from finished requests: signals for the rules, and outcomes for the behaviour score. */
import type { Socket } from 'node:net'
import { missedRoute, type RouteRules } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createSessionMoves } from '../rules/session-moves.ts'
import type { Signal } from '../rules/signal.ts'
import type { Guard } from '../service/guard.ts'
import type { BehaviourWatch } from './behaviour-watch.ts'
import type { Client } from './client.ts'
import type { RequestGuard } from './request-anomaly.ts'
import { isRefused, originOf } from './request-state.ts'
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
    const isMatched = rule !== undefined && !(rule.isFallback && isMissing(request, statusCode))
    const route = isMatched ? `${request.method} ${rule.pattern}` : undefined
    const signal = {
      name: isMatched || !isMissing(request, statusCode) ? 'request' : 'unmatched',
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
      origin: originOf(request, client),
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
      readonly origin: Signal['origin']
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

/** Every parameter and the query members that the route names: an id may stand in any of them. */
function idOf({ params, query }: FastifyRequest, rule: CompiledRoute): string | undefined {
  const { idParameters, idMembers } = rule
  if (idParameters.length === 0 && idMembers.length === 0) return undefined
  const path = (params ?? {}) as Readonly<Record<string, unknown>>
  const members = (query ?? {}) as Readonly<Record<string, unknown>>
  const parts = [
    ...idParameters.map((name) => path[name]),
    ...idMembers.map((name) => members[name]),
  ]
  const texts = parts.filter((part) => typeof part === 'string')
  return texts.length === 0 ? undefined : texts.join('/').slice(0, 200)
}

/** What nobody asks for but a scanner, whatever the answer: the fallback of a web app answers all. */
const PROBE =
  /\/\.(?:env|git|svn|hg|aws|ssh|htaccess|htpasswd|DS_Store)|\/wp-|\/(?:cgi-bin|phpmyadmin|pma|actuator|server-status|vendor\/phpunit)\b|\.(?:php\d?|phtml|aspx?|jsp|cgi|sql|bak|old|swp|ini|ya?ml|pem|key)(?:\/|$)/i
/** Files of a page: after a deployment, old tabs ask for those that are gone. */
const ASSET =
  /\.(?:m?js|css|map|png|jpe?g|gif|svg|webp|avif|ico|woff2?|ttf|otf|mp4|webm|webmanifest)$/i

/** Whether it was a request for what does not exist, as scanners make them. */
function isMissing(request: FastifyRequest, statusCode: number): boolean {
  const path = pathOf(request)
  return PROBE.test(path) || (statusCode === 404 && !ASSET.test(path))
}

/** The path without its query. */
function pathOf({ url }: FastifyRequest): string {
  const end = url.indexOf('?')
  return url.slice(0, end === -1 ? 200 : Math.min(end, 200))
}
