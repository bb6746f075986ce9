/** What is done with the responses of routes that declare a schema for them. */
import { readFastifyInternal } from '@parapet/kit'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  onRequestHookHandler,
  preSerializationHookHandler,
  RouteOptions,
} from 'fastify'
import { applyResponsePlan } from '../output/apply-plan.ts'
import {
  allowsEverything,
  compileResponsePlan,
  type ResponsePlan,
} from '../output/response-plan.ts'
import type { ResolveRef, SchemaNode } from '../validation/schema-tools.ts'
import type { Recorder } from './recorder.ts'
import { responseSchemaOf } from './response-schema.ts'
import { filterText, isTextPayload, type TextPayload } from './text-responses.ts'

/** What is reported of responses, and how much may be parsed. */
export interface ResponseSettings {
  /** Reports members that are not declared; hidden ones are left out without it, too. */
  readonly recorder: Recorder | undefined
  readonly maxTextBytes: number
}

/** Filters the texts that a route sends. */
type ResponseGuard = (
  request: FastifyRequest,
  reply: FastifyReply,
  payload: TextPayload,
) => TextPayload

/** Replies whose payload Fastify serializes by its schema. */
const serialized = new WeakSet<FastifyReply>()

/** By request, because Fastify makes `routeOptions` anew each time. */
const guards = new WeakMap<FastifyRequest, ResponseGuard>()

/** Guards the responses of a route, if it declares a schema for them. */
export function guardResponses(
  route: RouteOptions,
  { recorder, maxTextBytes }: ResponseSettings,
  resolver: () => ResolveRef,
): void {
  const responses = (route.schema as { readonly response?: Record<string, unknown> } | undefined)
    ?.response
  if (responses === undefined) return
  const plans = new Map<SchemaNode, ResponsePlan>()
  const planOf = (schema: SchemaNode) => {
    const plan = plans.get(schema) ?? compileResponsePlan(schema, resolver())
    plans.set(schema, plan)
    return plan
  }
  const apply = (request: FastifyRequest, value: unknown, plan: ResponsePlan) => {
    if (recorder === undefined && !plan.hidesSomething) return value
    return applyResponsePlan(value, plan, (field) => recorder?.fieldRemoved(request, field))
  }
  const hook: preSerializationHookHandler = (request, reply, payload, done) => {
    if (!hasSerializer(reply)) serialized.add(reply)
    const schema = responseSchemaOf(responses, reply)
    done(null, schema === undefined ? payload : apply(request, payload, planOf(schema)))
  }
  // A hook of the route runs after those of its contexts.
  route.preSerialization = [
    route.preSerialization ?? [],
    hook,
  ].flat() as preSerializationHookHandler[]
  const guard: ResponseGuard = (request, reply, payload) => {
    const schema = responseSchemaOf(responses, reply)
    if (schema === undefined) return payload
    const plan = planOf(schema)
    if (allowsEverything(plan)) return payload
    return filterText(reply, payload, schema, maxTextBytes, (value) => apply(request, value, plan))
  }
  const mark: onRequestHookHandler = (request, _reply, done) => {
    guards.set(request, guard)
    done()
  }
  route.onRequest = [mark, ...([route.onRequest ?? []].flat() as onRequestHookHandler[])]
}

/** Filters texts that handlers send, before hooks that are added later, such as compression, change them. */
export function filterTextResponses(app: FastifyInstance): void {
  app.addHook('onSend', (request, reply, payload, done) => {
    if (serialized.has(reply) || !isTextPayload(payload)) return done(null, payload)
    let filtered: unknown = payload
    try {
      filtered = guards.get(request)?.(request, reply, payload) ?? payload
    } catch (error) {
      return done(error as Error)
    }
    done(null, filtered)
  })
  // If a value could not be serialized, an error handler sends another.
  app.addHook('onError', (_request, reply, _error, done) => {
    serialized.delete(reply)
    done()
  })
}

/** Whether a handler has chosen a serializer, which does not know the schema. */
function hasSerializer(reply: FastifyReply): boolean {
  return typeof readFastifyInternal(reply, 'fastify.reply.serializer') === 'function'
}
