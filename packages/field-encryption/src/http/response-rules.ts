/** Compiles what is encrypted in the responses of a route, and by which roles it is disclosed. */
import { compileRouteRule, missedRoute } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA,
  PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED,
} from '../errors.ts'
import {
  compileSchema,
  findById,
  holdsEncrypted,
  type RefResolver,
  type SchemaNode,
} from '../schema/compile-schema.ts'

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
 * @returns the rule of a request's route. It throws PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED for a route
 *   that was declared before the plugin and needs a rule.
 */
export function compileResponseRules(
  app: FastifyInstance,
): (request: FastifyRequest) => ResponseRule | null {
  const pending: (() => void)[] = []
  const rules = compileRouteRule<PendingRule>(app, {
    plugin: '@parapet/field-encryption',
    key: 'fieldEncryption',
    compile({ raw, route, name, context }) {
      const rule: PendingRule = { compiled: undefined }
      pending.push(() => {
        rule.compiled = compileRule(raw, route, name, (id) => context.getSchema(id))
      })
      return rule
    },
  })
  app.addHook('onReady', async () => {
    for (const compile of pending.splice(0)) compile()
  })
  return ({ routeOptions }) => {
    const rule = rules.of(routeOptions)
    if (rule !== undefined && rule !== missedRoute && rule.compiled !== undefined) {
      return rule.compiled
    }
    const { response } = (routeOptions.schema ?? {}) as { readonly response?: unknown }
    if (rule !== missedRoute && !holdsEncrypted(response)) return null
    throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED(
      'its route was declared before the plugin was registered',
    )
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
  schemaOf: (id: string) => unknown,
): ResponseRule | null {
  const roles = readRoles(raw, where)
  const response = (route.schema?.response ?? {}) as Readonly<Record<string, unknown>>
  const byStatus = new Map<string, readonly SchemaNode[]>()
  let hasEncrypted = false
  for (const [status, schema] of Object.entries(response)) {
    const nodes = schemasOf(schema).flatMap(
      (each) => compileSchema(each, where, createRefResolver(schemaOf)) ?? [],
    )
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

/** Resolves `User`, `User#`, `#/definitions/User` and `User#/properties/address`. */
function createRefResolver(schemaOf: (id: string) => unknown): RefResolver {
  return (ref, root) => {
    const [id = '', pointer = ''] = ref.split('#')
    const found = id === '' ? root : (findById(root, id) ?? schemaOf(id))
    let target = found
    for (const part of pointer.split('/').filter((each) => each !== '')) {
      const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
      const parent = target as Readonly<Record<string, unknown>> | undefined
      target = parent !== undefined && Object.hasOwn(parent, name) ? parent[name] : undefined
    }
    return target === undefined ? undefined : { schema: target, root: found }
  }
}
