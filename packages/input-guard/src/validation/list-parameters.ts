/** Finds the parameters of a query string or form that may be sent several times. */
import { combinedBy, isNode, type ResolveRef, type SchemaNode } from './schema-tools.ts'

/** The names of members whose schema accepts an array. */
export function listParameters(schema: unknown, resolve: ResolveRef): ReadonlySet<string> {
  const names = new Set<string>()
  if (!isNode(schema)) return names
  // A body may have one schema for each media type.
  if (isNode(schema['content'])) {
    const inner = Object.values(schema['content']).map((each) => isNode(each) && each['schema'])
    return new Set(inner.flatMap((each) => [...listParameters(each, resolve)]))
  }
  for (const [node, root] of combinedBy(schema, schema, resolve)) {
    for (const [name, member] of Object.entries(node['properties'] ?? {})) {
      if (isNode(member) && acceptsArray(member, root, resolve)) names.add(name)
    }
  }
  return names
}

function acceptsArray(member: SchemaNode, root: SchemaNode, resolve: ResolveRef): boolean {
  return combinedBy(member, root, resolve).some(([{ type }]) => [type].flat().includes('array'))
}
