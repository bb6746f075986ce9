/** What happens with a request: its rule, its attempt, its outcome, and the wait before its reply. */
import type { Principal, SecurityEvent } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { PARAPET_AUDIT_LOG_ROUTE_MISSED } from './errors.ts'
import type { AuditFields, Markable } from './record/recorder.ts'
import { fieldsOf } from './record/event.ts'
import { compileRule, type CompiledRule } from './route-hooks.ts'
import type { AuditReceipt, AuditService } from './service.ts'

interface RouteConfig {
  readonly [kRule]?: CompiledRule
  readonly audit?: unknown
}

/** What is known of a request that is under way. */
interface RequestState {
  /** Records that must be on disk before the reply. */
  readonly pending: Promise<unknown>[]
  attemptId: string | undefined
  errorCode: string | undefined
  done: boolean
}

const kRule = Symbol('@parapet/audit-log:rule')
const kState = Symbol('@parapet/audit-log:state')
type Stateful = FastifyRequest & { [kState]: RequestState | null }
type PrincipalOf = (request: FastifyRequest) => Principal | null

const MAX_USER_AGENT = 512

/** Records on behalf of requests. */
export class RequestRecorder {
  /** Requests that are under way, so that an event that names one holds its reply. */
  readonly #open = new Map<string, RequestState>()
  readonly #service: AuditService
  readonly #principalOf: PrincipalOf

  constructor(service: AuditService, principalOf: PrincipalOf) {
    this.#service = service
    this.#principalOf = principalOf
  }

  addHooks(app: FastifyInstance): void {
    app.decorateRequest(kState, null)
    app.addHook('onRoute', (route) => this.#readRoute(route))
    app.addHook('onRequest', (request, reply, done) => {
      try {
        this.#begin(request as Stateful, reply)
        done()
      } catch (error) {
        done(error as Error)
      }
    })
    app.addHook('onError', async (request, _reply, error: Error & { code?: unknown }) => {
      const state = (request as Stateful)[kState]
      if (state === null) return
      state.errorCode = typeof error.code === 'string' ? error.code : error.name
    })
    app.addHook('onSend', async (request, reply) => this.#holdReply(request as Stateful, reply))
  }

  /** Records for a request, and holds its reply until the record is on disk. */
  record(request: FastifyRequest, action: string, fields: AuditFields): Promise<AuditReceipt> {
    const all = { ...this.subjectOf(request), ...fields }
    const written = this.#service.record(action, all)
    hold((request as Stateful)[kState], written)
    return written
  }

  /** Turns a security event into a record of the same id. */
  recordEvent(event: SecurityEvent): void {
    const { id, time, type, requestId } = event
    const written = this.#service.write(type, fieldsOf(event), { id, time })
    hold(requestId === undefined ? null : (this.#open.get(requestId) ?? null), written)
  }

  /** Who asks, from where, and on which route. */
  readonly subjectOf = (request: FastifyRequest): AuditFields => {
    const { method, url } = request.routeOptions
    const agent = request.headers['user-agent']
    const principal = this.#principalOf(request)
    return {
      ip: request.ip,
      requestId: request.id,
      ...(url === undefined ? undefined : { route: `${String(method)} ${url}` }),
      ...(agent === undefined ? undefined : { userAgent: agent.slice(0, MAX_USER_AGENT) }),
      ...(principal === null ? undefined : { principal: principal.id }),
      ...(principal?.sessionId === undefined ? undefined : { session: principal.sessionId }),
      ...(principal?.tenantId === undefined ? undefined : { tenant: principal.tenantId }),
    }
  }

  #readRoute(route: RouteOptions): void {
    const raw = (route.config as RouteConfig | undefined)?.audit
    if (raw === undefined) return
    const name = `${String(route.method)} ${route.url}`
    const rule = compileRule(raw, name, this.#service.parts.actions)
    // A copy: the caller may share one config object among routes.
    route.config = { ...route.config, [kRule]: rule } as RouteOptions['config'] & object
    if (!rule.action.attempt) return
    const own = route.preHandler === undefined ? [] : [route.preHandler].flat()
    // Behind the route's own hooks: what they refuse was not attempted.
    route.preHandler = [...own, async (request) => this.#attempt(request as Stateful, rule)]
  }

  #begin(request: Stateful, reply: FastifyReply): void {
    const config: RouteConfig = request.routeOptions.config
    const rule = config[kRule]
    if (rule === undefined && config.audit !== undefined) throw new PARAPET_AUDIT_LOG_ROUTE_MISSED()
    const state: RequestState = {
      pending: [],
      attemptId: undefined,
      errorCode: undefined,
      done: false,
    }
    request[kState] = state
    this.#open.set(request.id, state)
    // Not onResponse: it does not run for a client that went away.
    reply.raw.on('close', () => this.#end(request, reply, state))
    if (rule !== undefined) this.#service.parts.writer.requireRoom(rule.action)
  }

  #end(request: Stateful, reply: FastifyReply, state: RequestState): void {
    if (this.#open.get(request.id) === state) this.#open.delete(request.id)
    // A reply that its handler took over passes no onSend.
    const rule = (request.routeOptions.config as RouteConfig)[kRule]
    if (rule === undefined || state.done || !reply.sent) return
    state.done = true
    this.#outcome(request, reply, rule, state).catch(() => {})
  }

  async #attempt(request: Stateful, rule: CompiledRule): Promise<void> {
    const fields = { result: 'unknown' } as const
    const { id } = await this.#write(request, rule, fields, { phase: 'attempt' })
    const state = request[kState]
    if (state !== null) state.attemptId = id
  }

  async #holdReply(request: Stateful, reply: FastifyReply): Promise<void> {
    const state = request[kState]
    if (state === null) return
    const rule = (request.routeOptions.config as RouteConfig)[kRule]
    if (rule !== undefined && !state.done) {
      // An error of this hook answers with a second reply, which passes here again.
      state.done = true
      const written = this.#outcome(request, reply, rule, state)
      if (rule.action.durable) state.pending.push(written)
      else written.catch(() => {})
    }
    const pending = state.pending.splice(0)
    if (pending.length > 0) await (pending.length === 1 ? pending[0] : Promise.all(pending))
  }

  async #outcome(
    request: Stateful,
    reply: FastifyReply,
    rule: CompiledRule,
    { attemptId, errorCode }: RequestState,
  ): Promise<AuditReceipt> {
    const failed = statusOf(reply) >= 400
    const fields: AuditFields = {
      result: failed ? 'failure' : 'success',
      ...(failed && errorCode !== undefined ? { errorCode } : undefined),
    }
    const internal = attemptId === undefined ? {} : { phase: 'outcome' as const, attemptId }
    return this.#write(request, rule, fields, internal)
  }

  #write(
    request: Stateful,
    { action, resourceId }: CompiledRule,
    fields: AuditFields,
    internal: { phase?: 'attempt' | 'outcome'; attemptId?: string },
  ): Promise<AuditReceipt> {
    const target = resourceOf(request, resourceId)
    return this.#service.writeResolved(
      action,
      {
        ...this.subjectOf(request),
        ...(target === undefined ? undefined : { resourceId: target }),
        ...fields,
      },
      internal,
      internal.phase !== 'attempt',
    )
  }
}

/** It reads what a refused request may lack, its body for instance; the record must not be lost with it. */
function resourceOf(
  request: FastifyRequest,
  resourceId: CompiledRule['resourceId'],
): Markable | undefined {
  try {
    return resourceId(request)
  } catch {
    return undefined
  }
}

/** Whoever took the reply over wrote its status past Fastify. */
function statusOf(reply: FastifyReply): number {
  return reply.raw.headersSent ? reply.raw.statusCode : reply.statusCode
}

function hold(state: RequestState | null, written: Promise<AuditReceipt>): void {
  // The reply is held by the promise itself; whoever else does not wait is told by an event.
  written.catch(() => {})
  if (state !== null && !state.done) state.pending.push(written)
}

/** Whether the server runs with `trustProxy: true`; Fastify keeps its options under a symbol of its own. */
export function trustsEverybody(app: FastifyInstance): boolean {
  for (let at: object | null = app; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const key = Object.getOwnPropertySymbols(at).find(
      ({ description }) => description === 'fastify.options',
    )
    if (key === undefined) continue
    return (at as Record<symbol, { trustProxy?: unknown } | undefined>)[key]?.trustProxy === true
  }
  return false
}
