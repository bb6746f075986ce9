/** The routes of an app, with their hooks and handlers as texts. */
import { listRoutes, type RouterRoute } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { PARAPET_POSTURE_UNREADABLE } from '../errors.ts'
import { isSafeMethod, type Piece, type RouteFacts, type RouteSchema } from '../facts/route.ts'
import { createUnbinder, type Unbinder } from './unbind.ts'

/** The stages that can refuse a request before the handler. */
const STAGES = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

type Context = Readonly<Record<string, unknown>>

/** A route, and the context that declared it. */
export interface OwnedRoute {
  readonly route: RouteFacts
  readonly owner: FastifyInstance
  /** The function that answers its errors. */
  readonly errorHandler: unknown
}

/**
 * Lists the routes, without the HEAD routes that Fastify adds to GET.
 *
 * @throws PARAPET_POSTURE_UNREADABLE this version of Fastify keeps its routes otherwise.
 */
export function readRoutes(app: FastifyInstance): OwnedRoute[] {
  const listed = listRoutes(app)
  if (listed === undefined) throw new PARAPET_POSTURE_UNREADABLE(app.version)
  const unbinder = createUnbinder()
  try {
    return readListed(listed, unbinder)
  } finally {
    unbinder.close()
  }
}

function readListed(listed: readonly RouterRoute[], { targetOf }: Unbinder): OwnedRoute[] {
  const gets = new Set(listed.filter(({ method }) => method === 'GET').map(({ url }) => url))
  const seen = new Set<string>()
  return listed.flatMap(({ method, url, config, schema, owner, context }) => {
    const name = `${method} ${url}`
    if (seen.has(name) || (method === 'HEAD' && gets.has(url))) return []
    seen.add(name)
    const kept = context as Context
    const { limit } = (kept['_parserOptions'] ?? {}) as { readonly limit?: number }
    const route: RouteFacts = {
      method,
      url,
      name,
      isSafe: isSafeMethod(method),
      config: config as Readonly<Record<string, unknown>>,
      schema: readSchema(schema),
      hooks: STAGES.flatMap((stage) => readHooks(kept, stage, targetOf)),
      handler: pieceOf('handler', kept['handler'], targetOf),
      bodyLimit: limit,
    }
    const handler = (kept['errorHandler'] as { readonly func?: unknown } | undefined)?.func
    return [{ route, owner: owner as FastifyInstance, errorHandler: handler }]
  })
}

type TargetOf = Unbinder['targetOf']

function readHooks(context: Context, stage: string, targetOf: TargetOf): Piece[] {
  const hooks = context[stage]
  const list: readonly unknown[] = Array.isArray(hooks) ? hooks : [hooks]
  return list.flatMap((hook) => pieceOf(stage, hook, targetOf) ?? [])
}

function pieceOf(stage: string, value: unknown, targetOf: TargetOf): Piece | undefined {
  const target = targetOf(value)
  if (typeof target !== 'function') return undefined
  const text = Function.prototype.toString.call(target)
  return { stage, name: target.name, text, identity: target }
}

/** Fastify 5 keeps `query` as `querystring`, and schemas of TypeBox and others as plain objects. */
function readSchema(schema: unknown): RouteSchema {
  if (typeof schema !== 'object' || schema === null) return {}
  const { querystring, query, ...parts } = schema as Context
  const { body, params, headers, response, security, tags, operationId } = parts
  const own = { body, params, headers, response, security, tags, operationId }
  return { ...own, querystring: querystring ?? query }
}
