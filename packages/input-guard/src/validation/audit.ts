/** Finds the input of a route that its schemas do not bound. */
import { JSON_GUARD } from '../types/json.ts'
import { combinedBy, isNode, type ResolveRef, type SchemaNode } from './schema-tools.ts'

/** What the audit reads of a route. */
export interface AuditedRoute {
  readonly method: string
  readonly schema: { readonly body?: unknown; readonly querystring?: unknown } | undefined
}

/** Formats whose texts have a fixed length. */
const SHORT_FORMATS = new Set(['uuid', 'date', 'ipv4', 'ipv6'])
/** Methods for which Fastify reads no body, or whose body no handler expects. */
const BODILESS = new Set(['GET', 'HEAD', 'TRACE', 'OPTIONS'])
/** Patterns of names that every name matches; TypeBox writes the first one for a record. */
const ALL_NAMES = new Set(['^(.*)$', '^.*$', '.*', ''])
/** A query string is always an object, and `maxParameters` bounds it. */
const URL_OBJECT: SchemaNode = { type: 'object', additionalProperties: false, maxProperties: 200 }
const MAX_GAPS = 20
const MAX_DEPTH = 32
const MAX_STEPS = 20_000

/** Lists what is not bounded, each with its place: `body/tags: "maxItems" is missing`. */
export function findGaps({ method, schema }: AuditedRoute, resolve: ResolveRef): string[] {
  const gaps = new Set<string>()
  const hasBody = method.split(',').some((each) => !BODILESS.has(each))
  if (schema?.body === undefined && hasBody) {
    gaps.add('body: there is no schema; use { type: "null" } if the route has no body')
  }
  const budget = { steps: MAX_STEPS }
  for (const part of ['body', 'querystring'] as const) {
    for (const [name, node] of contentsOf(schema?.[part])) {
      const group: Part[] = [[node, node]]
      if (part === 'querystring') group.push([URL_OBJECT, node])
      const audit = { resolve, gaps, seen: new Map(), known: new Set<string>(), budget }
      walk(group, `${part}${name}`, audit, 0, [])
    }
  }
  const all = [...gaps]
  return all.length > MAX_GAPS
    ? [...all.slice(0, MAX_GAPS), `and ${all.length - MAX_GAPS} more`]
    : all
}

/** A body may have one schema for each media type. */
function contentsOf(root: unknown): [string, SchemaNode][] {
  if (root === undefined) return []
  if (!isNode(root) || !isNode(root['content'])) return [['', nodeOf(root)]]
  return Object.entries(root['content']).map(([type, entry]) => [
    ` (${type})`,
    nodeOf(isNode(entry) ? entry['schema'] : undefined),
  ])
}

/** A schema, and the one in which its references are resolved. */
type Part = readonly [node: SchemaNode, root: SchemaNode]

interface Audit {
  readonly resolve: ResolveRef
  readonly gaps: Set<string>
  /** A number for each schema, to recognise groups. */
  readonly seen: Map<unknown, number>
  readonly known: Set<string>
  readonly budget: { steps: number }
}

/**
 * Checks a value to which all schemas of a group apply. Alternatives are checked one by one, each together with
 * the rest of the group.
 *
 * @param chosen lists of alternatives of which one is in the group already
 */
function walk(
  group: readonly Part[],
  at: string,
  audit: Audit,
  depth: number,
  chosen: readonly unknown[],
): void {
  const { gaps, seen, known, budget, resolve } = audit
  if (--budget.steps < 0 || depth > MAX_DEPTH) {
    gaps.add(`${at}: the schema has too many branches for the audit`)
    return
  }
  const parts = group.flatMap(([node, root]) => combinedBy(node, root, resolve, ['allOf']))
  const numberOf = (each: unknown) => seen.get(each) ?? (seen.set(each, seen.size), seen.size - 1)
  const key = [...new Set([...parts.map(([node]) => node), ...chosen])].map(numberOf).join()
  if (known.has(key)) return
  known.add(key)
  for (const [node, root] of parts) {
    const branches = alternativesOf(node).find(([list]) => !chosen.includes(list))
    if (branches === undefined) continue
    for (const each of branches[1]) {
      walk([...parts, [nodeOf(each), root]], at, audit, depth + 1, [...chosen, branches[0]])
    }
    return
  }
  for (const gap of gapsOf(parts.map(([node]) => node))) gaps.add(`${at}: ${gap}`)
  for (const [name, members] of membersOf(parts)) {
    walk(members, `${at}/${name}`, audit, depth + 1, [])
  }
}

/** A schema may be `true` or `false`; nothing else is read as accepting anything. */
function nodeOf(schema: unknown): SchemaNode {
  if (isNode(schema)) return schema
  return schema === false ? { enum: [] } : {}
}

/** Lists of schemas of which one applies, each with what identifies the list. */
function alternativesOf(node: SchemaNode): [list: unknown, branches: readonly unknown[]][] {
  const lists = [node['anyOf'], node['oneOf']].filter((each) => Array.isArray(each))
  const found: [unknown, readonly unknown[]][] = lists.map((list) => [list, list as unknown[]])
  if (node['if'] !== undefined) found.push([node['if'], [node['then'], node['else']]])
  return found
}

/** The schemas of each member or item of a value. */
function membersOf(parts: readonly Part[]): Map<string, Part[]> {
  const members = new Map<string, Part[]>()
  const add = (name: string, schema: unknown, root: SchemaNode) => {
    members.set(name, [...(members.get(name) ?? []), [nodeOf(schema), root]])
  }
  for (const [node, root] of parts) {
    for (const [name, member] of Object.entries(node['properties'] ?? {})) add(name, member, root)
    for (const [name, member] of Object.entries(node['patternProperties'] ?? {})) {
      add(`{${name}}`, member, root)
    }
    if (isNode(node['additionalProperties'])) add('*', node['additionalProperties'], root)
    const { items, prefixItems, additionalItems } = node
    for (const list of [items, prefixItems]) {
      if (Array.isArray(list)) for (const [at, each] of list.entries()) add(String(at), each, root)
    }
    if (isNode(items)) add('*', items, root)
    if (isNode(additionalItems)) add('*', additionalItems, root)
  }
  return members
}

/** @param nodes apply to one value together */
function gapsOf(nodes: readonly SchemaNode[]): string[] {
  const has = (key: string) => nodes.some((node) => node[key] !== undefined)
  if (has('enum') || has('const') || has(JSON_GUARD)) return []
  const types = typesOf(nodes)
  if (types === undefined) return ['"type" is missing, so that any value is accepted']
  const isShort = nodes.some(({ format }) => SHORT_FORMATS.has(String(format)))
  const gaps: string[] = []
  if (types.has('string') && !has('maxLength') && !isShort) gaps.push('"maxLength" is missing')
  if (types.has('array')) gaps.push(...itemGaps(nodes, has))
  if (types.has('object')) gaps.push(...memberGaps(nodes, has))
  return gaps
}

/** The types that all schemas of a group allow; `undefined`: all. */
function typesOf(nodes: readonly SchemaNode[]): ReadonlySet<string> | undefined {
  const lists = nodes.flatMap(({ type }) =>
    type === undefined ? [] : [new Set([type].flat() as string[])],
  )
  const [first, ...others] = lists
  if (first === undefined) return undefined
  return new Set([...first].filter((type) => others.every((other) => other.has(type))))
}

function itemGaps(nodes: readonly SchemaNode[], has: (key: string) => boolean): string[] {
  const tuples = nodes.flatMap(({ items, prefixItems }) =>
    [items, prefixItems].filter((each) => Array.isArray(each)),
  )
  const most = Math.min(
    ...nodes.map(({ maxItems }) => Number(maxItems ?? Number.POSITIVE_INFINITY)),
  )
  const isClosed = nodes.some(
    (node) => node['additionalItems'] === false || node['items'] === false,
  )
  const length = Math.max(-1, ...tuples.map((each) => (each as unknown[]).length))
  if (length >= 0 && (isClosed || most <= length)) return []
  const gaps = Number.isFinite(most) ? [] : ['"maxItems" is missing']
  const hasItems = nodes.some(({ items }) => isNode(items)) || has('additionalItems')
  if (!hasItems && most > 0) gaps.push('"items" is missing, so that any item is accepted')
  return gaps
}

function memberGaps(nodes: readonly SchemaNode[], has: (key: string) => boolean): string[] {
  const isClosed = ['additionalProperties', 'unevaluatedProperties'].some((key) =>
    nodes.some((node) => node[key] !== undefined && node[key] !== true),
  )
  const patterns = nodes.flatMap((node) => Object.keys(node['patternProperties'] ?? {}))
  const isRecord = patterns.length > 0 || nodes.some((node) => isNode(node['additionalProperties']))
  const gaps: string[] = []
  if (!isClosed && !patterns.some((each) => ALL_NAMES.has(each))) {
    gaps.push('"additionalProperties": false is missing')
  }
  if (isRecord && !has('maxProperties')) gaps.push('"maxProperties" is missing')
  return gaps
}
