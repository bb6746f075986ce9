/**
 * Refuses contained clients: addresses in onRequest, before anything else is done for them, and principals in
 * preParsing, when they are known and no byte of the body has been read.
 */
import { missedRoute, type PrincipalReader, type RouteRules } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest, preHandlerHookHandler } from 'fastify'
import type { Containment } from '../contain/containment.ts'
import { PARAPET_ANOMALY_GUARD_INVALID_RULE } from '../errors.ts'
import type { Guard } from '../service/guard.ts'
import { CountWindows } from '../windows/windows.ts'
import type { RequestGuard } from './request-anomaly.ts'
import type { ChallengeGate } from './challenge-gate.ts'
import type { Client } from './client.ts'
import { refuse, type RefusalLog } from './refusals.ts'
import { markRefused } from './request-state.ts'
import type { CompiledRoute } from './route-rule.ts'

/** See {@link addContainmentHooks}. */
export interface ContainmentHookSettings {
  readonly guard: Guard
  readonly rules: RouteRules<CompiledRoute>
  readonly principalOf: PrincipalReader
  readonly clientOf: (ip: string) => Client
  readonly gate: ChallengeGate | undefined
  readonly stateOf: (request: FastifyRequest) => RequestGuard
  readonly refusals: RefusalLog
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])
const MINUTE_MS = 60_000
const TIGHTENED_KEYS = 50_000

/** Adds the hooks. */
export function addContainmentHooks(app: FastifyInstance, settings: ContainmentHookSettings): void {
  const enforcer = new Enforcer(settings)
  app.addHook('onRequest', function anomalyGuardContain(request, reply, done) {
    enforcer.onRequest(request, reply, done)
  })
  app.addHook('preParsing', function anomalyGuardContainPrincipal(request, reply, _payload, done) {
    enforcer.onPrincipal(request, reply, done)
  })
  // Many apps find the caller in preHandler: the last one of each route looks again.
  const again: preHandlerHookHandler = (request, reply, done) => {
    enforcer.checkPrincipal(request, reply, (error) => {
      if (error === undefined) enforcer.checkAccount(request, reply, done)
      else done(error)
    })
  }
  app.addHook('onRoute', (route) => {
    route.preHandler = [...[route.preHandler ?? []].flat(), again]
  })
}

type Done = (error?: Error) => void

class Enforcer {
  readonly #settings: ContainmentHookSettings
  /** The principal that was looked up for a request: a login may name another one in a later hook. */
  readonly #checked = new WeakMap<FastifyRequest, string>()
  /** The requests of tightened clients, where no port limits them. */
  readonly #tightened: CountWindows

  constructor(settings: ContainmentHookSettings) {
    this.#settings = settings
    const { contain } = settings.guard.settings
    this.#tightened = new CountWindows({
      windowMs: MINUTE_MS,
      capacity: contain.tightenedLimit,
      maxKeys: TIGHTENED_KEYS,
    })
  }

  onRequest(request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const { guard, clientOf, rules } = this.#settings
    const { active, clients, clock } = guard
    if (rules.of(request.routeOptions) === missedRoute) {
      done(missed(request))
      return
    }
    const client = clientOf(request.ip)
    clients.observe(client.hash, guard.tick())
    const { bits, isAllowed } = client
    if (active.size === 0 || isAllowed) {
      done()
      return
    }
    const now = clock.now()
    const ofService = active.ofService(now)
    if (ofService !== undefined && this.#applies(ofService, request)) {
      this.#end(ofService, request, reply, done)
      return
    }
    const found = bits === undefined ? undefined : active.ofAddress(bits, now)
    if (found === undefined) done()
    else this.#answer(found, client, request, reply, done)
  }

  onPrincipal(request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const { guard, principalOf } = this.#settings
    const { hasPrincipals } = guard.active
    // A mapping runs for every request: rules count by principal, too.
    if (!hasPrincipals && guard.settings.principal === undefined) {
      done()
      return
    }
    // Where no principal is contained, a mapping that fails is no reason to refuse the request.
    const failed = (error: Error): void => (hasPrincipals ? done(error) : done())
    try {
      const pending = principalOf.load(request)
      if (pending === undefined) this.checkPrincipal(request, reply, done)
      else pending.then(() => this.checkPrincipal(request, reply, done), failed)
    } catch (error) {
      failed(error as Error)
    }
  }

  checkPrincipal(request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const { guard, principalOf, clientOf } = this.#settings
    const { active, allowlist, clock, hash } = guard
    if (!active.hasPrincipals || clientOf(request.ip).isAllowed) {
      done()
      return
    }
    const id = principalOf(request)?.id
    if (id === undefined || this.#checked.get(request) === id) {
      done()
      return
    }
    this.#checked.set(request, id)
    const found = allowlist.hasPrincipal(id) ? undefined : active.ofPrincipal(id, clock.now())
    const isRefused =
      found?.kind === 'block' ||
      (found?.kind === 'tighten' && this.#isExceeded(found, hash('p', id)))
    if (found === undefined || !isRefused) done()
    else this.#end(found, request, reply, done)
  }

  /** While an account is attacked from many addresses, its logins prove more. */
  checkAccount(request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const { guard, clientOf, gate, stateOf, refusals } = this.#settings
    const route = this.#routeOf(request)
    const named = route?.account?.(request)
    if (typeof named !== 'string') {
      done()
      return
    }
    const account = guard.pseudonym('account', named)
    const state = stateOf(request)
    state.account = account
    const tried = route?.secret?.(request)
    if (typeof tried === 'string') state.secret = guard.pseudonym('secret', tried)
    const found = guard.active.ofAccount(account, guard.clock.now())
    const client = clientOf(request.ip)
    if (found === undefined || client.isAllowed) done()
    else if (found.kind === 'challenge' && gate !== undefined) {
      if (gate.admits(request, client.key, found)) done()
      else if (refusals.hasBreakGlass(found.kind, found, request)) done()
      else {
        this.#note(found, request)
        gate.demand(request, reply, done)
      }
    } else if (this.#tightened.take(guard.hash('account', account), guard.tick())) done()
    else this.#end(found, request, reply, done)
  }

  #answer(
    found: Containment,
    client: Client,
    request: FastifyRequest,
    reply: FastifyReply,
    done: Done,
  ): void {
    const { gate, guard } = this.#settings
    if (found.kind === 'block') this.#end(found, request, reply, done)
    else if (found.kind === 'challenge' && gate !== undefined) {
      if (this.#routeOf(request)?.isOpen === true || gate.admits(request, client.key, found)) done()
      else if (this.#settings.refusals.hasBreakGlass(found.kind, found, request)) done()
      else {
        this.#note(found, request)
        gate.demand(request, reply, done)
      }
    } else if (found.kind === 'tighten' && this.#isExceeded(found, guard.hash('a', client.key))) {
      this.#end(found, request, reply, done)
    } else done()
  }

  #applies({ kind }: Containment, request: FastifyRequest): boolean {
    if (this.#routeOf(request)?.isOpen === true) return false
    return kind === 'lockdown' || !SAFE_METHODS.has(request.method)
  }

  /** Refuses the request, unless it has the break-glass token. */
  #end(found: Containment, request: FastifyRequest, reply: FastifyReply, done: Done): void {
    if (this.#settings.refusals.hasBreakGlass(found.kind, found, request)) {
      done()
      return
    }
    this.#note(found, request)
    done(refuse(found, reply, this.#settings.guard.clock.now()))
  }

  #note(found: Containment, request: FastifyRequest): void {
    markRefused(request)
    this.#settings.refusals.note(found.kind, found, request)
  }

  #isExceeded({ target }: Containment, key: number): boolean {
    const { ports, tick } = this.#settings.guard
    if (ports.limitsElsewhere(target)) return false
    // Refused requests do not count: the limit is what the client keeps of every minute.
    return !this.#tightened.take(key, tick())
  }

  #routeOf(request: FastifyRequest): CompiledRoute | undefined {
    const rule = this.#settings.rules.of(request.routeOptions)
    return rule === missedRoute ? undefined : rule
  }
}

function missed({ method, routeOptions }: FastifyRequest): Error {
  const route = `${method} ${routeOptions.url ?? ''}`
  return new PARAPET_ANOMALY_GUARD_INVALID_RULE(
    route,
    'it was declared before the plugin was ready; register the plugin with await',
  )
}
