/**
 * Replies: a field that a response schema marks as encrypted is revealed, masked or left out by the
 * roles of whoever asks; what cannot be told is refused rather than sent.
 */
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { parseEnvelope } from './aead.ts'
import { decideDisclosure } from './encrypted.ts'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA,
  PARAPET_FIELD_ENCRYPTION_INVALID_VALUE,
  PARAPET_FIELD_ENCRYPTION_NOT_DECRYPTED,
  PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED,
} from './errors.ts'
import {
  compileSchema,
  findById,
  holdsEncrypted,
  type RefResolver,
  type SchemaNode,
} from './schema.ts'
import { mapLeaves, OMIT } from './walk.ts'

/** What a route may say of its replies. */
export interface FieldEncryptionRouteConfig {
  /** The roles of whoever asks, for this payload: `owner`, for instance. Added to those of the principal. */
  readonly roles?: (
    request: FastifyRequest,
    payload: unknown,
  ) => readonly string[] | Promise<readonly string[]>
}

interface CompiledRule {
  /** What is encrypted in the replies of a status, or of `2xx`, or of `default`. */
  readonly byStatus: ReadonlyMap<string, readonly SchemaNode[]>
  readonly roles: FieldEncryptionRouteConfig['roles']
}

const kRule = Symbol('@parapet/field-encryption:rule')
const kMasked = Symbol('@parapet/field-encryption:masked')

/** The route's config as this plugin sees it. Its type promises nothing: JavaScript may have written it. */
interface RouteConfig {
  /** `null`: nothing is encrypted. Absent: the route was declared before the plugin was there. */
  readonly [kRule]?: { readonly compiled?: CompiledRule | null }
  readonly fieldEncryption?: unknown
}

/** A reply whose payload has passed. */
interface MaskedReply {
  [kMasked]?: boolean
}

/** Adds the hooks. @param rolesOf the roles of whoever asks. */
export function addResponseHooks(
  app: FastifyInstance,
  rolesOf: (request: FastifyRequest) => readonly string[],
): void {
  app.decorateReply(kMasked, false)

  const pending: (() => void)[] = []
  app.addHook('onRoute', function fieldEncryptionReadRoute(route: RouteOptions) {
    const rule: { compiled?: CompiledRule | null } = {}
    // Once every schema that a reply refers to has been added.
    pending.push(() => {
      rule.compiled = compileRule(route, (id) => this.getSchema(id))
    })
    // A copy: the caller may share one config object among routes.
    route.config = { ...route.config, [kRule]: rule } as RouteOptions['config'] & object
  })
  app.addHook('onReady', async () => {
    for (const compile of pending.splice(0)) compile()
  })

  app.addHook('preSerialization', async (request, reply, payload) => {
    const rule = ruleOf(request)
    const nodes = rule && nodesFor(rule, reply.statusCode)
    if (!nodes || nodes.length === 0) return payload
    const more = (await rule.roles?.(request, payload)) ?? []
    const roles = [...rolesOf(request), ...more]
    const masked = nodes.reduce((value, node) => disclose(node, value, roles), payload)
    ;(reply as MaskedReply)[kMasked] = true
    return masked
  })

  app.addHook('onSend', async (request, reply, payload) => {
    // Text and streams pass no serialiser, so nothing in them could be masked.
    const rule = ruleOf(request)
    const passes = payload === null || payload === undefined || payload === ''
    if (!rule || passes || (reply as MaskedReply)[kMasked] === true) return payload
    if (!nodesFor(rule, reply.statusCode)?.length) return payload
    throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED('it was serialised before it could be masked')
  })
}

function disclose(node: SchemaNode, payload: unknown, roles: readonly string[]): unknown {
  try {
    return discloseLeaves(node, payload, roles)
  } catch (error) {
    // The reply is at fault here, not the request.
    if (!(error instanceof PARAPET_FIELD_ENCRYPTION_INVALID_VALUE)) throw error
    throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED('it has another shape than its schema')
  }
}

function discloseLeaves(node: SchemaNode, payload: unknown, roles: readonly string[]): unknown {
  return mapLeaves(node, payload, '', (field, value, path) => {
    if (field.reveal === 'never') {
      throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED(`"${path}" is never revealed`)
    }
    // What only begins like one is a text that somebody wrote; `encryptRecord` takes it.
    if (parseEnvelope(value) !== undefined) {
      throw new PARAPET_FIELD_ENCRYPTION_NOT_DECRYPTED(path)
    }
    const disclosure = decideDisclosure(field, roles)
    if (disclosure === 'reveal') return value
    return disclosure === 'withhold' ? OMIT : disclosure(String(value))
  })
}

/** The rule of a route; one that was missed is refused if it needs one. */
function ruleOf(request: FastifyRequest): CompiledRule | null {
  const { config, schema } = request.routeOptions as {
    readonly config?: RouteConfig
    readonly schema?: { readonly response?: unknown }
  }
  const rule = config?.[kRule]?.compiled
  if (rule !== undefined) return rule
  if (config?.fieldEncryption === undefined && !holdsEncrypted(schema?.response)) return null
  throw new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED('its route was declared before the plugin')
}

function nodesFor({ byStatus }: CompiledRule, status: number): readonly SchemaNode[] | undefined {
  return (
    byStatus.get(String(status)) ??
    byStatus.get(`${Math.floor(status / 100)}xx`) ??
    byStatus.get('default')
  )
}

function compileRule(route: RouteOptions, schemaOf: (id: string) => unknown): CompiledRule | null {
  const where = `${String(route.method)} ${route.url}`
  const roles = readRoles((route.config as RouteConfig | undefined)?.fieldEncryption, where)
  const response = (route.schema?.response ?? {}) as Readonly<Record<string, unknown>>
  const byStatus = new Map<string, readonly SchemaNode[]>()
  let found = false
  for (const [status, schema] of Object.entries(response)) {
    const nodes = schemasOf(schema).flatMap(
      (each) => compileSchema(each, where, resolverOf(schemaOf)) ?? [],
    )
    for (const node of nodes) requireOptional(node, where, '')
    // A status of its own, with nothing encrypted in it, is not that of `2xx`.
    byStatus.set(status.toLowerCase(), nodes)
    found ||= nodes.length > 0
  }
  return found ? { byStatus, roles } : null
}

/** A response schema, or one for each media type. */
function schemasOf(schema: unknown): readonly unknown[] {
  const { content } = (schema ?? {}) as { readonly content?: Readonly<Record<string, object>> }
  if (content === undefined) return [schema]
  return Object.values(content).map((each) => (each as { readonly schema?: unknown }).schema)
}

/** What is required cannot be left out, so some mask must stand in for it. */
function requireOptional(node: SchemaNode, where: string, path: string): void {
  if (node.kind === 'array') return requireOptional(node.items, where, `${path}[]`)
  if (node.kind === 'object') {
    for (const [name, member] of node.members) requireOptional(member, where, `${path}.${name}`)
    return
  }
  if (!node.required || node.field.masks.has('default')) return
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(
    where,
    `${path.slice(1)} is required in the reply, but not every role sees it: ` +
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

/** Follows `User`, `User#`, `#/definitions/User` and `User#/properties/address`. */
function resolverOf(schemaOf: (id: string) => unknown): RefResolver {
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
