/** Hooks that record requests: the attempt, the outcome, and the wait before the reply. */
import {
  compileRouteRule,
  keepAddress,
  missedRoute,
  type DeclaredRoute,
  type RouteRules,
  type SecurityEvent,
} from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Audit } from '../audit.ts'
import { PARAPET_AUDIT_LOG_ROUTE_MISSED } from '../errors.ts'
import type { AuditReceipt } from '../pipeline/writer.ts'
import type { AuditFields, InternalFields } from '../record/fields.ts'
import { OpenRequests } from './open-requests.ts'
import { codeOf, resourceIdOf, type RequestReader } from './request-source.ts'
import { kState, RequestState, type StatefulRequest } from './request-state.ts'
import { compileRule, type CompiledRule } from './route-rule.ts'

/** The error code of a request that a hook answered without an error. */
const NOT_REACHED = 'HANDLER_NOT_REACHED'
/** The error code of a request whose client left while the handler ran. */
const CLIENT_CLOSED = 'CLIENT_CLOSED'

/** Records on behalf of requests. */
export class RequestRecorder {
  readonly #open = new OpenRequests((state) => this.#end(state))
  readonly #audit: Audit
  readonly #reader: RequestReader

  constructor(audit: Audit, reader: RequestReader) {
    this.#audit = audit
    this.#reader = reader
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
      if (state !== null) state.errorCode = codeOf(error)
    })
    app.addHook('onSend', async (request) => {
      const state = (request as StatefulRequest)[kState]
      if (state !== null) await this.#beforeReply(state)
    })
  }

  /** Records for a request; its reply waits until the record is on disk. */
  record(request: FastifyRequest, action: string, fields: AuditFields): Promise<AuditReceipt> {
    const write = async () =>
      this.#audit.record(action, merge(this.#reader.sourceOf(request), fields))
    const loading = this.#reader.load(request)
    const written = loading === undefined ? write() : loading.then(write)
    // The reply waits for the promise itself; a rejection that nothing else handles must not end the process.
    written.catch(() => {})
    ;(request as StatefulRequest)[kState]?.hold(written)
    return written
  }

  /** Makes the reply of an event's request wait for its record. */
  readonly holdReply = ({ requestId }: SecurityEvent, written: Promise<AuditReceipt>): void => {
    if (requestId !== undefined) this.#open.find(requestId)?.hold(written)
  }

  #compile({ raw, route, name }: DeclaredRoute): CompiledRule | undefined {
    if (raw === undefined) return undefined
    const rule = compileRule(raw, name, this.#audit.parts.actions)
    const own = route.preHandler === undefined ? [] : [route.preHandler].flat()
    // After the route's own hooks: a request that they refuse does not reach the handler.
    route.preHandler = [...own, async (request) => this.#reach(request as StatefulRequest, rule)]
    return rule
  }

  #begin(request: StatefulRequest, reply: FastifyReply, rules: RouteRules<CompiledRule>): void {
    const rule = rules.of(request.routeOptions)
    if (rule === missedRoute) throw new PARAPET_AUDIT_LOG_ROUTE_MISSED()
    const state = new RequestState(request, reply, rule)
    request[kState] = state
    // Node keeps the address once it was read; after the client hung up it could not be read any more.
    keepAddress(request)
    this.#open.add(state)
    if (rule === undefined) return
    // A refused request has no outcome to record: it would be refused again while its reply is sent, and Fastify
    // would send that error without the error handler of the app.
    state.done = true
    this.#audit.parts.writer.requireRoom(rule.action)
    state.done = false
  }

  /** A hijacked reply does not pass onSend, and a handler may never answer a client that left. */
  #end(state: RequestState): void {
    const { rule, reply, done, reached, attemptId } = state
    if (rule === undefined || done) return
    if (reply.sent) {
      state.done = true
      this.#recordOutcome(state, rule).catch(() => {})
    } else if (reached && attemptId === undefined) {
      // If the handler answers nevertheless, the outcome follows.
      state.leaving = this.#attempt(state, rule, CLIENT_CLOSED).catch(() => {})
    }
  }

  /** The last step before the handler. @throws the fault of the principal, for a closed action */
  async #reach(request: StatefulRequest, rule: CompiledRule): Promise<void> {
    const loading = this.#reader.load(request)
    if (loading !== undefined) await loading
    const fault = this.#reader.faultOf(request)
    if (fault !== undefined && rule.action.closed) throw fault
    const state = request[kState]
    if (state === null) return
    if (rule.action.attempt) await this.#attempt(state, rule)
    else if (state.isClosed) await this.#attempt(state, rule, CLIENT_CLOSED)
    state.reached = true
  }

  async #attempt(state: RequestState, rule: CompiledRule, errorCode?: string): Promise<void> {
    const fields: AuditFields = {
      result: 'unknown',
      ...(errorCode === undefined ? undefined : { errorCode }),
    }
    // Without an error the request was not let in yet, and must not take the room of the others.
    const useReserve = errorCode !== undefined
    const { id } = await this.#write(state, rule, fields, { phase: 'attempt' }, useReserve)
    state.attemptId = id
  }

  async #beforeReply(state: RequestState): Promise<void> {
    const { rule } = state
    if (rule !== undefined && !state.done) {
      // If this hook throws, Fastify sends an error reply, which passes this hook again.
      state.done = true
      const written = this.#recordOutcome(state, rule)
      if (rule.action.durable) state.pending.push(written)
      else written.catch(() => {})
    }
    const pending = state.pending.splice(0)
    if (pending.length > 0) await (pending.length === 1 ? pending[0] : Promise.all(pending))
  }

  async #recordOutcome(state: RequestState, rule: CompiledRule): Promise<AuditReceipt> {
    const { errorCode, reached, status } = state
    await (state.leaving ?? this.#reader.load(state.request))
    const { attemptId } = state
    // The status alone tells too little: a hook or an error handler may answer with a redirect.
    const code = errorCode ?? (reached ? undefined : NOT_REACHED)
    const fields: AuditFields = {
      result: code !== undefined || status >= 400 ? 'failure' : 'success',
      ...(code === undefined ? undefined : { errorCode: code }),
    }
    const internal: InternalFields =
      attemptId === undefined ? { status } : { status, phase: 'outcome', attemptId }
    // The request was let in already, so its outcome must find room.
    return this.#write(state, rule, fields, internal, true)
  }

  #write(
    { request }: RequestState,
    rule: CompiledRule,
    fields: AuditFields,
    internal: InternalFields,
    useReserve: boolean,
  ): Promise<AuditReceipt> {
    const resourceId = resourceIdOf(request, rule)
    return this.#audit.parts.writer.record({
      action: rule.action,
      fields: {
        ...this.#reader.sourceOf(request),
        ...(resourceId === undefined ? undefined : { resourceId }),
        ...fields,
      },
      ...internal,
      useReserve,
    })
  }
}

/** A member without a value keeps that of the request. */
function merge(source: AuditFields, given: AuditFields): AuditFields {
  // The recorder refuses it.
  if (typeof given !== 'object' || given === null) return given
  const merged: Record<string, unknown> = { ...given }
  for (const [name, value] of Object.entries(source)) merged[name] ??= value
  return merged
}
