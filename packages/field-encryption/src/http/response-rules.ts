/** Compiles what is encrypted in the responses of a route, and by which roles it is disclosed. */
import { compileRouteRule, missedRoute } from '@parapet/kit'
import type {
  FastifyInstance,
  FastifyRequest,
  preSerializationAsyncHookHandler,
  RouteOptions,
} from 'fastify'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA,
  PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED,
} from '../errors.ts'
import { compileSchema, type SchemaNode } from '../schema/compile-schema.ts'
import { createRefResolver, reachesEncrypted, type RefResolver } from '../schema/reach-encrypted.ts'
import { runLast } from './run-last.ts'

/** The route config `fieldEncryption`. */
export interface FieldEncryptionRouteConfig {
  /** Roles of the caller for this payload, for instance `owner`, in addition to those of the principal. */
  readonly roles?: (
    request: FastifyRequest,
    payload: unknown,
  ) => readonly string[] | Promise<readonly string[]>
}

/** What is encrypted in the responses of a route. */
export interface ResponseRule {
  /** The encrypted parts by status: `200`, `2xx` or `default`. */
  readonly byStatus: ReadonlyMap<string, readonly SchemaNode[]>
  readonly roles: FieldEncryptionRouteConfig['roles']
}

/** Compiled in `onReady`; `null`: nothing in the responses is encrypted. */
interface PendingRule {
  compiled: ResponseRule | null | undefined
}

/**
 * Compiles the rule of every route. A response schema may refer to a schema that is added after the
 * route, so rules are compiled in `onReady`.
 *
 * @param mask the last preSerialization hook of each route that has a rule.
 * @returns the rule of a request's route. It throws PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED for a route
 *   that was declared before the plugin and needs a rule.
 */
export function compileResponseRules(
  app: FastifyInstance,
  mask: preSerializationAsyncHookHandler,
): (request: FastifyRequest) => ResponseRule | null {
  const pending: (() => void)[] = []
  const rules = compileRouteRule<PendingRule>(app, {
    plugin: '@parapet/field-encryption',
    key: 'fieldEncryption',
    compile({ raw, route, name, context }) {
      const rule: PendingRule = { compiled: undefined }
      const resolve = createRefResolver((id) => context.getSchema(id))
      pending.push(() => {
        rule.compiled = compileRule(raw, route, name, resolve)
      })
      runLast(route, mask, () => needsRule(route.schema?.response, resolve))
      return rule
    },
  })
  app.addHook('onReady', async () => {
    for (const compile of pending.splice(0)) compile()
  })
  const isMissed = createMissedRoutes()
  return (request) => {
    const rule = rules.of(request.routeOptions)
    if (rule !== undefined && rule !== missedRoute) {
      return rule.compiled === undefined ? refuse('the boot of the app has failed') : rule.compiled
    }
    if (rule !== missedRoute && !isMissed(request)) return null
    return refuse('its route was declared before the plugin was registered')
  }
}

function refuse(reason: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED(reason)
}

/** Whether anything in the responses of a route is encrypted. */
function needsRule(response: unknown, resolve: RefResolver): boolean {
  return Object.values(response ?? {})
    .flatMap(schemasOf)
    .some((schema) => reachesEncrypted(schema, resolve, schema))
}

/** Whether a route without a rule needs one. Each response schema is searched once. */
function createMissedRoutes(): (request: FastifyRequest) => boolean {
  const known = new WeakMap<object, boolean>()
  return ({ routeOptions, server }) => {
    const { response } = (routeOptions.schema ?? {}) as { readonly response?: object }
    if (response === undefined) return false
    const isKnown = known.get(response)
    if (isKnown !== undefined) return isKnown
    const isMissed = needsRule(
      response,
      createRefResolver((id) => server.getSchema(id)),
    )
    known.set(response, isMissed)
    return isMissed
  }
}

/** The encrypted parts of a response with this status. */
export function nodesOfStatus(
  { byStatus }: ResponseRule,
  status: number,
): readonly SchemaNode[] | undefined {
  return (
    byStatus.get(String(status)) ??
    byStatus.get(`${Math.floor(status / 100)}xx`) ??
    byStatus.get('default')
  )
}

function compileRule(
  raw: unknown,
  route: RouteOptions,
  where: string,
  resolve: RefResolver,
): ResponseRule | null {
  const roles = readRoles(raw, where)
  const response = (route.schema?.response ?? {}) as Readonly<Record<string, unknown>>
  const byStatus = new Map<string, readonly SchemaNode[]>()
  let hasEncrypted = false
  for (const [status, schema] of Object.entries(response)) {
    const nodes = schemasOf(schema).flatMap((each) => compileSchema(each, where, resolve) ?? [])
    for (const node of nodes) requireOptional(node, where, '')
    // Also without nodes: the schema of 204 replaces that of `2xx`.
    byStatus.set(status.toLowerCase(), nodes)
    hasEncrypted ||= nodes.length > 0
  }
  return hasEncrypted ? { byStatus, roles } : null
}

/** The schema of a response, or one for each media type. */
function schemasOf(schema: unknown): readonly unknown[] {
  const { content } = (schema ?? {}) as { readonly content?: Readonly<Record<string, object>> }
  if (content === undefined) return [schema]
  return Object.values(content).map((each) => (each as { readonly schema?: unknown }).schema)
}

/** A required member cannot be withheld, so it needs a mask for every role. */
function requireOptional(node: SchemaNode, where: string, path: string): void {
  if (node.kind === 'array') return requireOptional(node.items, where, `${path}[]`)
  if (node.kind === 'object') {
    for (const [name, member] of node.members) requireOptional(member, where, `${path}.${name}`)
    return
  }
  if (!node.required || node.field.masks.has('default')) return
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(
    where,
    `the response requires "${path.slice(1)}", but some roles do not see it: ` +
      'give it a default mask, or make it optional',
  )
}

function readRoles(raw: unknown, where: string): FieldEncryptionRouteConfig['roles'] {
  if (raw === undefined) return undefined
  const { roles, ...rest } = (raw ?? {}) as Record<string, unknown>
  if (typeof roles !== 'function' || Object.keys(rest).length > 0) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(
      where,
      'config.fieldEncryption must be { roles: (request, payload) => [...] }',
    )
  }
  return roles as FieldEncryptionRouteConfig['roles']
}
