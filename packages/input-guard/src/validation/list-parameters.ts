/** Finds the parameters of a query string that may be sent several times. */
import { branchesOf, isNode, type ResolveRef, type SchemaNode } from './schema-tools.ts'

const MAX_DEPTH = 8

/** The names of members whose schema accepts an array. */
export function listParameters(schema: unknown, resolve: ResolveRef): ReadonlySet<string> {
  const names = new Set<string>()
  if (isNode(schema)) collectLists(schema, schema, resolve, names, 0)
  return names
}

function collectLists(
  node: SchemaNode,
  root: SchemaNode,
  resolve: ResolveRef,
  names: Set<string>,
  depth: number,
): void {
  if (depth > MAX_DEPTH) return
  for (const [name, member] of Object.entries(node['properties'] ?? {})) {
    if (acceptsArray(member, root, resolve, 0)) names.add(name)
  }
  for (const [inner, itsRoot] of branchesOf(node, root, resolve)) {
    collectLists(inner, itsRoot, resolve, names, depth + 1)
  }
}

function acceptsArray(
  member: unknown,
  root: SchemaNode,
  resolve: ResolveRef,
  depth: number,
): boolean {
  if (!isNode(member) || depth > MAX_DEPTH) return false
  if ([member['type']].flat().includes('array')) return true
  return branchesOf(member, root, resolve).some(([inner, itsRoot]) =>
    acceptsArray(inner, itsRoot, resolve, depth + 1),
  )
}
