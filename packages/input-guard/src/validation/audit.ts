/** Finds the input of a route that its schemas do not bound. */
import { isNode, type ResolveRef, type SchemaNode } from './schema-tools.ts'

/** What the audit reads of a route. */
export interface AuditedRoute {
  readonly method: string
  readonly schema: { readonly body?: unknown; readonly querystring?: unknown } | undefined
}

/** Formats whose texts have a fixed length. */
const SHORT_FORMATS = new Set(['uuid', 'date', 'ipv4', 'ipv6'])
/** What limits the members of an object. */
const CLOSING = ['additionalProperties', 'unevaluatedProperties', 'maxProperties']
const MAX_GAPS = 20
const MAX_DEPTH = 32

/** Lists what is not bounded, each with its place: `body/tags: "maxItems" is missing`. */
export function findGaps({ method, schema }: AuditedRoute, resolve: ResolveRef): string[] {
  const gaps: string[] = []
  const hasBody = /\b(?:POST|PUT|PATCH)\b/.test(method)
  if (schema?.body === undefined && hasBody) {
    gaps.push('body: there is no schema; use { type: "null" } if the route has no body')
  }
  for (const part of ['body', 'querystring'] as const) {
    const root = schema?.[part]
    if (part === 'body' && !hasBody) continue
    for (const [name, node] of contentsOf(root)) {
      walk(node, { root: node, at: `${part}${name}`, resolve, gaps, seen: new Set() }, 0)
    }
  }
  return gaps.length > MAX_GAPS
    ? [...gaps.slice(0, MAX_GAPS), `and ${gaps.length - MAX_GAPS} more`]
    : gaps
}

/** A body may have one schema for each media type. */
function contentsOf(root: unknown): [string, SchemaNode][] {
  if (!isNode(root)) return []
  if (!isNode(root['content'])) return [['', root]]
  return Object.entries(root['content']).flatMap(([type, entry]) =>
    isNode(entry) && isNode(entry['schema']) ? [[` (${type})`, entry['schema']]] : [],
  )
}

interface Walk {
  readonly root: SchemaNode
  readonly at: string
  readonly resolve: ResolveRef
  readonly gaps: string[]
  readonly seen: Set<SchemaNode>
}

function walk(node: SchemaNode, context: Walk, depth: number): void {
  const { root, at, resolve, gaps, seen } = context
  if (seen.has(node) || depth > MAX_DEPTH || gaps.length > MAX_GAPS) return
  seen.add(node)
  const into = (inner: unknown, name: string, itsRoot = root) => {
    if (isNode(inner)) walk(inner, { ...context, root: itsRoot, at: `${at}${name}` }, depth + 1)
  }
  const { $ref } = node
  if (typeof $ref === 'string') {
    const found = resolve($ref, root)
    if (found !== undefined) into(found[0], '', found[1])
  }
  for (const key of ['allOf', 'anyOf', 'oneOf']) {
    const branches = node[key]
    if (Array.isArray(branches)) for (const each of branches) into(each, '')
  }
  gaps.push(...gapsOf(node, at.startsWith('body')).map((gap) => `${at}: ${gap}`))
  for (const [name, member] of Object.entries(node['properties'] ?? {})) {
    into(member, `/${name}`)
  }
  into(node['additionalProperties'], '/*')
  into(node['items'], '/*')
}

/** @param closes whether objects must be closed; the URL bounds a query string */
function gapsOf(node: SchemaNode, closes: boolean): string[] {
  const types = new Set([node['type'] ?? []].flat() as string[])
  const isListed = node['enum'] !== undefined || node['const'] !== undefined
  const gaps: string[] = []
  const isShort = SHORT_FORMATS.has(String(node['format']))
  if (types.has('string') && node['maxLength'] === undefined && !isListed && !isShort) {
    gaps.push('"maxLength" is missing')
  }
  if (types.has('array') && node['maxItems'] === undefined && !Array.isArray(node['items'])) {
    gaps.push('"maxItems" is missing')
  }
  const isOpen = CLOSING.every((key) => node[key] === undefined || node[key] === true)
  if (closes && types.has('object') && isOpen) {
    gaps.push('"additionalProperties": false is missing')
  }
  return gaps
}
