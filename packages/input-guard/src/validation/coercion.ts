/**
 * Converts the texts of query strings, paths and headers to what their schema expects, if they are written
 * exactly as JSON writes it: `5` is a number, `0x5`, ` 5`, `1e999`, integers beyond 2^53 and the empty text
 * are not.
 */
import { combinedBy, isNode, type ResolveRef, type SchemaNode } from './schema-tools.ts'

/** Converts the members of one object in place. */
export type Coercion = (data: unknown) => void

const NUMBER = /^-?(?:0|[1-9]\d{0,20})(?:\.\d{1,20})?(?:[eE][+-]?\d{1,3})?$/

/** What a schema accepts. */
interface Accepted {
  readonly types: ReadonlySet<string>
  /** Texts that are accepted as they are. */
  readonly literals: ReadonlySet<string>
  readonly items: readonly [node: SchemaNode, root: SchemaNode] | undefined
}

/**
 * Compiles the conversion of an object schema.
 *
 * @returns `undefined`: no member needs one.
 */
export function compileCoercion(schema: SchemaNode, resolve: ResolveRef): Coercion | undefined {
  const members = collectMembers(schema, resolve)
  if (members.size === 0) return undefined
  const plan = [...members]
  return (data) => {
    if (typeof data !== 'object' || data === null) return
    const record = data as Record<string, unknown>
    for (const [name, convert] of plan) {
      const value = record[name]
      if (value === undefined) continue
      const converted = convert(value)
      if (converted !== value) record[name] = converted
    }
  }
}

function collectMembers(
  schema: SchemaNode,
  resolve: ResolveRef,
): Map<string, (value: unknown) => unknown> {
  const members = new Map<string, (value: unknown) => unknown>()
  for (const [node, root] of combinedBy(schema, schema, resolve)) {
    for (const [name, member] of Object.entries(node['properties'] ?? {})) {
      const convert = isNode(member) ? converterOf(member, root, resolve) : undefined
      if (convert !== undefined && !members.has(name)) members.set(name, convert)
    }
  }
  return members
}

function converterOf(
  node: SchemaNode,
  root: SchemaNode,
  resolve: ResolveRef,
): ((value: unknown) => unknown) | undefined {
  const accepted = acceptedBy(node, root, resolve)
  const { types, items } = accepted
  const scalar = scalarConverter(accepted)
  if (!types.has('array')) return scalar
  const convertItem =
    (items && scalarConverter(acceptedBy(items[0], items[1], resolve))) ?? ((each) => each)
  return (value) => {
    if (Array.isArray(value)) return value.map(convertItem)
    // One value of a list that may be repeated.
    return types.has('string') ? value : [convertItem(value)]
  }
}

/** A text that the schema accepts stays one, whatever it looks like. */
function scalarConverter({ types, literals }: Accepted): ((value: unknown) => unknown) | undefined {
  const isNumber = types.has('number') || types.has('integer')
  const isBoolean = types.has('boolean')
  if (types.has('string') || (!isNumber && !isBoolean)) return undefined
  return (value) => {
    if (typeof value !== 'string' || literals.has(value)) return value
    if (isBoolean && (value === 'true' || value === 'false')) return value === 'true'
    if (!isNumber || value.length > 48 || !NUMBER.test(value)) return value
    const number = Number(value)
    // Larger integers would become others: 9007199254740993 is read as 9007199254740992.
    const isExact = Number.isSafeInteger(number) || !Number.isInteger(number)
    return Number.isFinite(number) && isExact ? number : value
  }
}

function acceptedBy(schema: SchemaNode, itsRoot: SchemaNode, resolve: ResolveRef): Accepted {
  const types = new Set<string>()
  const literals = new Set<string>()
  let items: Accepted['items']
  for (const [node, root] of combinedBy(schema, itsRoot, resolve)) {
    const listed = [node['const'] ?? [], node['enum'] ?? []].flat() as unknown[]
    for (const type of [node['type'] ?? []].flat() as string[]) {
      // A list of texts is no free text.
      if (type !== 'string' || listed.length === 0) types.add(type)
    }
    for (const value of listed) {
      if (typeof value === 'string') literals.add(value)
      else types.add(typeof value)
    }
    if (isNode(node['items'])) items ??= [node['items'], root]
  }
  return { types, literals, items }
}
