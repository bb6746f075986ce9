/** Hooks that record requests: the attempt, the outcome, and the wait before the reply. */
import {
  compileRouteRule,
  missedRoute,
  readFastifyInternal,
  requestSource,
  type DeclaredRoute,
  type Principal,
  type RouteRules,
  type SecurityEvent,
  type SecurityEvents,
} from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Audit } from '../audit.ts'
import { PARAPET_AUDIT_LOG_ROUTE_MISSED } from '../errors.ts'
import type { AuditReceipt } from '../pipeline/writer.ts'
import type { AuditFields } from '../record/fields.ts'
import {
  createState,
  holdReply,
  kState,
  resourceIdOf,
  statusOf,
  type RequestState,
  type StatefulRequest,
} from './request-state.ts'
import { compileRule, type CompiledRule } from './route-rule.ts'
import { fieldsOfEvent } from './security-event.ts'

type PrincipalOf = (request: FastifyRequest) => Principal | null

/** Records on behalf of requests. */
export class RequestRecorder {
  /** Requests in progress by id, so that a security event of a request can hold its reply. */
  readonly #open = new Map<string, RequestState>()
  readonly #audit: Audit
  readonly #principalOf: PrincipalOf

  constructor(audit: Audit, principalOf: PrincipalOf) {
    this.#audit = audit
    this.#principalOf = principalOf
  }

  addHooks(app: FastifyInstance): void {
    app.decorateRequest(kState, null)
    const rules = compileRouteRule<CompiledRule>(app, {
      plugin: '@parapet/audit-log',
      key: 'audit',
      compile: (declared) => this.#compile(declared),
    })
    app.addHook('onRequest', (request, reply, done) => {
      try {
        this.#begin(request as StatefulRequest, reply, rules)
        done()
      } catch (error) {
        done(error as Error)
      }
    })
    app.addHook('onError', async (request, _reply, error: Error & { code?: unknown }) => {
      const state = (request as StatefulRequest)[kState]
      if (state === null) return
      state.errorCode = typeof error.code === 'string' ? error.code : error.name
    })
    app.addHook('onSend', async (request, reply) =>
      this.#beforeReply(request as StatefulRequest, reply),
    )
  }

  /** Records for a request; its reply waits until the record is on disk. */
  record(request: FastifyRequest, action: string, fields: AuditFields): Promise<AuditReceipt> {
    const written = this.#audit.record(action, { ...this.sourceOf(request), ...fields })
    holdReply((request as StatefulRequest)[kState], written)
    return written
  }

  /** Records the security events of other plugins. @returns a function that stops it */
  recordEvents(events: SecurityEvents): () => void {
    return events.on('*', (event) => {
      // The plugin records its own events itself.
      if (!event.type.startsWith('audit_log.')) this.#recordEvent(event)
    })
  }

  /** Records an event under its own id; the reply of its request waits for the record. */
  #recordEvent(event: SecurityEvent): void {
    const { id, time, type, requestId } = event
    const { actions, writer } = this.#audit.parts
    // Async, so that an invalid event type rejects instead of throwing into the event bus.
    const write = async () =>
      writer.record({ action: actions.getOpen(type), fields: fieldsOfEvent(event), id, time })
    const written = write()
    holdReply(requestId === undefined ? null : (this.#open.get(requestId) ?? null), written)
  }

  /** Principal, session, tenant, address and route of a request. */
  readonly sourceOf = (request: FastifyRequest): AuditFields => {
    const principal = this.#principalOf(request)
    const { principalId, sessionId, ...source } = requestSource(request, principal)
    return {
      ...source,
      ...(principalId === undefined ? undefined : { principal: principalId }),
      ...(sessionId === undefined ? undefined : { session: sessionId }),
      ...(principal?.tenantId === undefined ? undefined : { tenant: principal.tenantId }),
    }
  }

  #compile({ raw, route, name }: DeclaredRoute): CompiledRule | undefined {
    if (raw === undefined) return undefined
    const rule = compileRule(raw, name, this.#audit.parts.actions)
    if (rule.action.attempt) {
      const own = route.preHandler === undefined ? [] : [route.preHandler].flat()
      // After the route's own hooks: a request that they refuse was not attempted.
      route.preHandler = [
        ...own,
        async (request) => this.#attempt(request as StatefulRequest, rule),
      ]
    }
    return rule
  }

  #begin(request: StatefulRequest, reply: FastifyReply, rules: RouteRules<CompiledRule>): void {
    const rule = rules.of(request.routeOptions)
    if (rule === missedRoute) throw new PARAPET_AUDIT_LOG_ROUTE_MISSED()
    const state = createState(rule)
    request[kState] = state
    this.#open.set(request.id, state)
    // Not onResponse: Fastify does not run it when the client disconnects.
    reply.raw.on('close', () => this.#end(request, reply, state))
    if (rule !== undefined) this.#audit.parts.writer.requireRoom(rule.action)
  }

  #end(request: StatefulRequest, reply: FastifyReply, state: RequestState): void {
    if (this.#open.get(request.id) === state) this.#open.delete(request.id)
    // A hijacked reply does not pass onSend, so its outcome is recorded here.
    if (state.rule === undefined || state.done || !reply.sent) return
    state.done = true
    this.#recordOutcome(request, reply, state.rule, state).catch(() => {})
  }

  async #attempt(request: StatefulRequest, rule: CompiledRule): Promise<void> {
    const { id } = await this.#write(request, rule, { result: 'unknown' }, { phase: 'attempt' })
    const state = request[kState]
    if (state !== null) state.attemptId = id
  }

  async #beforeReply(request: StatefulRequest, reply: FastifyReply): Promise<void> {
    const state = request[kState]
    if (state === null) return
    const { rule } = state
    if (rule !== undefined && !state.done) {
      // If this hook throws, Fastify sends an error reply, which passes this hook again.
      state.done = true
      const written = this.#recordOutcome(request, reply, rule, state)
      if (rule.action.durable) state.pending.push(written)
      else written.catch(() => {})
    }
    const pending = state.pending.splice(0)
    if (pending.length > 0) await (pending.length === 1 ? pending[0] : Promise.all(pending))
  }

  async #recordOutcome(
    request: StatefulRequest,
    reply: FastifyReply,
    rule: CompiledRule,
    { attemptId, errorCode }: RequestState,
  ): Promise<AuditReceipt> {
    const failed = statusOf(reply) >= 400
    const fields: AuditFields = {
      result: failed ? 'failure' : 'success',
      ...(failed && errorCode !== undefined ? { errorCode } : undefined),
    }
    const phase = attemptId === undefined ? {} : { phase: 'outcome' as const, attemptId }
    return this.#write(request, rule, fields, phase)
  }

  #write(
    request: StatefulRequest,
    rule: CompiledRule,
    fields: AuditFields,
    phase: { readonly phase?: 'attempt' | 'outcome'; readonly attemptId?: string },
  ): Promise<AuditReceipt> {
    const resourceId = resourceIdOf(request, rule)
    return this.#audit.parts.writer.record({
      action: rule.action,
      fields: {
        ...this.sourceOf(request),
        ...(resourceId === undefined ? undefined : { resourceId }),
        ...fields,
      },
      ...phase,
      // The request was let in already, so its outcome must find room.
      useReserve: phase.phase !== 'attempt',
    })
  }
}

/** Whether the server runs with `trustProxy: true`. */
export function trustsEveryProxy(app: FastifyInstance): boolean {
  const options = readFastifyInternal(app, 'fastify.options') as
    | { readonly trustProxy?: unknown }
    | undefined
  return options?.trustProxy === true
}
