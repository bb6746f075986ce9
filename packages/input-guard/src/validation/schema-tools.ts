/** Reads schemas: references, and copies for one direction. */

/** A JSON Schema as it is read here. */
export type SchemaNode = Readonly<Record<string, unknown>>

/** Whether a value is a schema with members. */
export function isNode(value: unknown): value is SchemaNode {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Finds what `$ref` names, in the schema itself or in others. */
export type ResolveRef = (
  ref: string,
  root: SchemaNode,
) => readonly [node: SchemaNode, root: SchemaNode] | undefined

/** @param externals schemas by `$id` */
export function createResolver(externals: Readonly<Record<string, unknown>>): ResolveRef {
  return (ref, root) => {
    const hash = ref.indexOf('#')
    const id = hash === -1 ? ref : ref.slice(0, hash)
    const pointer = hash === -1 ? '' : ref.slice(hash + 1)
    const base = id === '' ? root : (externals[id] ?? externals[`${id}#`])
    if (!isNode(base)) return undefined
    if (pointer === '') return [base, base]
    const node = pointer.startsWith('/') ? follow(base, pointer) : findId(base, `#${pointer}`)
    return isNode(node) ? [node, base] : undefined
  }
}

function follow(base: SchemaNode, pointer: string): unknown {
  let node: unknown = base
  for (const part of pointer.slice(1).split('/')) {
    const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
    node = isNode(node) || Array.isArray(node) ? (node as Record<string, unknown>)[name] : undefined
  }
  return node
}

/** A definition with an `$id` of its own. */
function findId(base: SchemaNode, id: string): unknown {
  const definitions = { ...(base['definitions'] as object), ...(base['$defs'] as object) }
  return Object.values(definitions).find((each) => isNode(each) && each['$id'] === id)
}

/** Keywords whose schemas apply to the same value. */
const SAME_VALUE = new Set(['allOf', 'anyOf', 'oneOf', 'if', 'then', 'else'])
/** Keywords whose values are no schemas. */
const VALUES = new Set(['const', 'default', 'enum', 'examples'])

/**
 * A copy of a schema for the bodies of requests: a member that is `readOnly` is never required, whichever schema
 * of the same value says either. @see OpenAPI 3.1, section 4.8.24
 */
export function forRequest(schema: unknown, resolve: ResolveRef): unknown {
  return isNode(schema) ? requestNode(schema, schema, resolve, new Set()) : schema
}

function requestNode(
  node: SchemaNode,
  root: SchemaNode,
  resolve: ResolveRef,
  inherited: ReadonlySet<string>,
): SchemaNode {
  const readOnly = new Set([...inherited, ...readOnlyNames(node, root, resolve)])
  const copy = (value: unknown, names: ReadonlySet<string>): unknown => {
    if (Array.isArray(value)) return value.map((each) => copy(each, names))
    return isNode(value) ? requestNode(value, root, resolve, names) : value
  }
  const entries = Object.entries(node).map(([key, value]): [string, unknown] => {
    if (VALUES.has(key)) return [key, value]
    if (key === 'required' && Array.isArray(value)) {
      return [key, value.filter((name: string) => !readOnly.has(name))]
    }
    return [key, copy(value, SAME_VALUE.has(key) ? readOnly : new Set())]
  })
  return Object.fromEntries(entries)
}

function readOnlyNames(node: SchemaNode, root: SchemaNode, resolve: ResolveRef): string[] {
  return combinedBy(node, root, resolve).flatMap(([{ properties }, itsRoot]) =>
    Object.entries(properties ?? {}).flatMap(([name, member]: [string, unknown]) => {
      if (!isNode(member)) return []
      const parts = combinedBy(member, itsRoot, resolve, ['allOf'])
      return parts.some(([each]) => each['readOnly'] === true) ? [name] : []
    }),
  )
}

/** A copy of a schema of headers: their names are case-insensitive. @see RFC 9110, section 5.1 */
export function forHeaders(schema: unknown): unknown {
  if (!isNode(schema)) return schema
  const { properties, required } = schema
  return {
    ...schema,
    ...(isNode(properties)
      ? {
          properties: Object.fromEntries(Object.entries(properties).map(([k, v]) => [lower(k), v])),
        }
      : undefined),
    ...(Array.isArray(required) ? { required: required.map(lower) } : undefined),
  }
}

function lower(text: unknown): string {
  return String(text).toLowerCase()
}

const COMBINING = ['allOf', 'anyOf', 'oneOf']

/**
 * A schema and all schemas that it combines, by reference or `allOf`, `anyOf` and `oneOf`, each once and with the
 * schema in which its references are resolved.
 *
 * @param keys those of `allOf`, `anyOf` and `oneOf` that are followed
 */
export function combinedBy(
  node: SchemaNode,
  root: SchemaNode,
  resolve: ResolveRef,
  keys: readonly string[] = COMBINING,
): readonly (readonly [SchemaNode, SchemaNode])[] {
  const found: (readonly [SchemaNode, SchemaNode])[] = [[node, root]]
  const seen = new Set([node])
  for (const [each, itsRoot] of found) {
    for (const branch of branchesOf(each, itsRoot, resolve, keys)) {
      if (seen.has(branch[0])) continue
      seen.add(branch[0])
      found.push(branch)
    }
  }
  return found
}

/** The schemas that a schema combines directly. */
function branchesOf(
  node: SchemaNode,
  root: SchemaNode,
  resolve: ResolveRef,
  keys: readonly string[],
): (readonly [SchemaNode, SchemaNode])[] {
  const branches: (readonly [SchemaNode, SchemaNode])[] = []
  const { $ref } = node
  const found = typeof $ref === 'string' ? resolve($ref, root) : undefined
  if (found !== undefined) branches.push(found)
  for (const key of keys) {
    const inner = node[key]
    if (Array.isArray(inner))
      for (const each of inner) if (isNode(each)) branches.push([each, root])
  }
  return branches
}
