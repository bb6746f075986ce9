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
import { PARAPET_INPUT_GUARD_RESPONSE_REFUSED } from '../errors.ts'
import type { ResolveRef } from '../validation/schema-tools.ts'
import {
  headOf,
  jsonSchemaOf,
  responseSchemaOf,
  ResponseSchemas,
  type ResponseHead,
  type ResponseSettings,
} from './response-schema.ts'
import {
  filterResponse,
  filterStream,
  filterText,
  isResponse,
  isStream,
  isTextPayload,
  isUnreadable,
} from './text-responses.ts'

/** Filters what a route sends as JSON by itself. */
type ResponseGuard = (request: FastifyRequest, reply: FastifyReply, payload: unknown) => unknown

/** Replies whose payload was filtered as a value. */
const filtered = new WeakSet<FastifyReply>()

/** By request, because Fastify makes `routeOptions` anew each time. */
const guards = new WeakMap<FastifyRequest, ResponseGuard>()

/** Guards the responses of a route, if it declares a schema for them. */
export function guardResponses(
  route: RouteOptions,
  context: FastifyInstance,
  settings: ResponseSettings,
  resolver: () => ResolveRef,
): void {
  const responses = (route.schema as { readonly response?: Record<string, unknown> } | undefined)
    ?.response
  if (responses === undefined) return
  const schemas = new ResponseSchemas(responses, settings, resolver)
  const hasSerializer = isFunction(context, 'fastify.replySerializerDefault')
  // A hook of the route runs after those of its contexts.
  route.preSerialization = [
    route.preSerialization ?? [],
    filterValues(schemas, hasSerializer),
  ].flat() as preSerializationHookHandler[]
  const guard = createGuard(schemas)
  const mark: onRequestHookHandler = (request, _reply, done) => {
    guards.set(request, guard)
    done()
  }
  route.onRequest = [mark, ...([route.onRequest ?? []].flat() as onRequestHookHandler[])]
}

/** @param hasSerializer the app has chosen one for the context */
function filterValues(
  schemas: ResponseSchemas,
  hasSerializer: boolean,
): preSerializationHookHandler {
  return (request, reply, payload, done) => {
    const head = headOf(reply)
    const schema = responseSchemaOf(schemas.responses, head)
    // A type that the route does not declare is serialized without a schema, and filtered as text.
    if (schema === undefined) return done(null, payload)
    filtered.add(reply)
    const isOwn = hasSerializer || isFunction(reply, 'fastify.reply.serializer')
    if (!isOwn || !isObject(payload) || schemas.allowEverything(schema)) {
      return done(null, schemas.apply(schema, request, payload))
    }
    // A serializer of the app does not know the schema, so it gets what the schema leaves.
    let value: unknown
    try {
      value = JSON.parse(schemas.serialize(schema, request, reply, head.status, payload))
    } catch (error) {
      return done(error as Error)
    }
    done(null, value)
  }
}

function createGuard(schemas: ResponseSchemas): ResponseGuard {
  return (request, reply, payload) => {
    const response = isResponse(payload) ? payload : undefined
    const { status, type } =
      response === undefined ? headOf(reply) : headOfResponse(reply, response)
    const schema = jsonSchemaOf(schemas.responses, { status, type })
    if (schema === undefined || schemas.allowEverything(schema)) return payload
    const filter = {
      type,
      maxBytes: schemas.maxBytes,
      serialize: (value: object) => schemas.serialize(schema, request, reply, status, value),
    }
    if (response !== undefined) return filterResponse(reply, response, filter)
    const isText = isTextPayload(payload)
    if (!isText && !isStream(payload)) return payload
    if (isUnreadable(reply, type)) {
      // The error is not.
      reply.removeHeader('content-encoding')
      throw new PARAPET_INPUT_GUARD_RESPONSE_REFUSED('compressed')
    }
    return isText ? filterText(payload, filter) : filterStream(reply, payload, filter)
  }
}

/** Filters what handlers send, before hooks that are added later, such as compression, change it. */
export function filterResponses(app: FastifyInstance): void {
  app.addHook('onSend', (request, reply, payload, done) => {
    const guard = filtered.has(reply) ? undefined : guards.get(request)
    if (guard === undefined) return done(null, payload)
    let found: unknown
    try {
      found = guard(request, reply, payload)
    } catch (error) {
      return done(error as Error)
    }
    if (found instanceof Promise) void settle(found, done)
    else done(null, found)
  })
  // If a value could not be serialized, an error handler sends another.
  app.addHook('onError', (_request, reply, _error, done) => {
    filtered.delete(reply)
    done()
  })
}

async function settle(
  found: Promise<unknown>,
  done: (error: Error | null, payload?: unknown) => void,
): Promise<void> {
  let payload: unknown
  try {
    payload = await found
  } catch (error) {
    return done(error as Error)
  }
  done(null, payload)
}

function isObject(payload: unknown): payload is object {
  return typeof payload === 'object' && payload !== null
}

function headOfResponse(reply: FastifyReply, { status, headers }: Response): ResponseHead {
  return { status, type: headers.get('content-type') ?? headOf(reply).type }
}

/** Whether the app has chosen a serializer, for one reply or for a context. */
function isFunction(holder: object, internal: string): boolean {
  return typeof readFastifyInternal(holder, internal) === 'function'
}
