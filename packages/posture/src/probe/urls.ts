/** Addresses of routes: a path whose parameters have values, and its other spellings. */
import { hasSchema, type RouteFacts } from '../facts/route.ts'

/** The values that a probe puts into parameters. */
export interface ParameterValues {
  /** For parameters of the path. @default an example of the schema */
  readonly path?: string
  /** For members of the query, in which a schema does not demand a number. */
  readonly query?: string
}

type Members = Readonly<Record<string, unknown>>

const UUID = '3f2504e0-4f89-41d3-9a0c-0305e82c3301'

/** The members of a schema of an object. */
export function propertiesOf(schema: unknown): Readonly<Record<string, Members>> {
  if (!hasSchema(schema)) return {}
  const { properties } = schema
  // Fastify 4 allowed the members alone.
  const members = hasSchema(properties)
    ? properties
    : 'type' in schema || '$ref' in schema
      ? {}
      : schema
  return Object.fromEntries(
    Object.entries(members).filter((entry): entry is [string, Members] => hasSchema(entry[1])),
  )
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : []
}

/** A value that the schema of a member accepts. */
function exampleOf(schema: Members | undefined, name = ''): string {
  const { type, format, examples, example, default: preset, minimum } = schema ?? {}
  const { enum: allowed, const: fixed, minLength } = schema ?? {}
  const given = [fixed, preset, example, ...listOf(examples), ...listOf(allowed)]
  const first = given.find((each) => typeof each === 'string' || typeof each === 'number')
  if (first !== undefined) return String(first)
  if (type === 'integer' || type === 'number')
    return String(typeof minimum === 'number' ? Math.max(1, minimum) : 1)
  if (type === 'boolean') return 'true'
  if (format === 'uuid' || /uuid/i.test(name)) return UUID
  if (format === 'email') return 'probe@example.com'
  if (format === 'date') return '2026-01-01'
  if (format === 'date-time') return '2026-01-01T00:00:00Z'
  if (typeof minLength === 'number' && minLength > 1) return 'a'.repeat(Math.min(minLength, 256))
  return '1'
}

/** Fills the parameters of a route. */
export function urlOf(route: RouteFacts, values: ParameterValues = {}): string {
  const parameters = propertiesOf(route.schema.params)
  const path = route.url
    .replaceAll(/:(\w+)(?:\([^)]*\))?\??/g, (_, name: string) =>
      encodeURIComponent(values.path ?? exampleOf(parameters[name], name)),
    )
    .replaceAll('*', values.path === undefined ? 'probe' : encodeURIComponent(values.path))
    .replaceAll('::', ':')
  const query = queryOf(route, values.query)
  return query === '' ? path : `${path}?${query}`
}

/** The members of the query: required ones, and with `value` all of them and common names. */
function queryOf(route: RouteFacts, value: string | undefined): string {
  const { querystring } = route.schema
  const members = propertiesOf(querystring)
  const required =
    hasSchema(querystring) && Array.isArray(querystring['required'])
      ? (querystring['required'] as string[])
      : []
  const query = new URLSearchParams()
  for (const [name, given] of Object.entries(route.query ?? {})) query.set(name, value ?? given)
  for (const [name, schema] of Object.entries(members)) {
    if (value === undefined && !required.includes(name)) continue
    const takesText = value !== undefined && (schema['type'] ?? 'string') === 'string'
    query.set(name, takesText ? value : exampleOf(schema, name))
  }
  if (value === undefined) return query.toString()
  for (const name of queryNamesOf(route)) if (!query.has(name)) query.set(name, value)
  return query.toString()
}

const COMMON = [
  'q',
  'query',
  'search',
  'name',
  'id',
  'sort',
  'callback',
  'next',
  'url',
  'redirect',
  'returnTo',
  'to',
]

/** Names that the handler reads from the query, and common ones. */
export function queryNamesOf({ handler, schema }: RouteFacts): string[] {
  const text = handler?.text ?? ''
  const names = [...text.matchAll(/\bquery\s*\)?(?:\??\.|\[['"])(\w+)/g)].map((match) => match[1]!)
  const destructured = [...text.matchAll(/\{([^{}]*)\}\s*=\s*\w+\.query\b/g)].flatMap((match) =>
    match[1]!.split(',').map((each) => each.trim().split(/[:=\s]/)[0]!),
  )
  const found = [...names, ...destructured].filter((name) => /^\w+$/.test(name))
  // A schema that lists its members may refuse others.
  return [...new Set(hasSchema(schema.querystring) ? found : [...found, ...COMMON])].slice(0, 20)
}

/** Other spellings of a path that reach the same handler in lenient configurations. */
export function spellingsOf(url: string): string[] {
  const [path = '', query] = url.split('?')
  const suffix = query === undefined ? '' : `?${query}`
  const letter = /[a-z]/.exec(path)
  const encoded =
    letter === null
      ? path
      : `${path.slice(0, letter.index)}%${letter[0].charCodeAt(0).toString(16)}${path.slice(letter.index + 1)}`
  const spellings = [`${path}/`, `/${path}`, encoded, path.toUpperCase(), `${path};a=b`]
  return [...new Set(spellings)].filter((each) => each !== path).map((each) => `${each}${suffix}`)
}

/** A body with the required members of a schema. */
export function createBody(schema: unknown, depth = 0): unknown {
  if (!hasSchema(schema) || depth > 4) return {}
  const required = Array.isArray(schema['required']) ? (schema['required'] as string[]) : []
  const members = propertiesOf(schema)
  return Object.fromEntries(
    required.flatMap((name) => {
      const member = members[name]
      return member === undefined ? [] : [[name, createValue(member, name, depth)] as const]
    }),
  )
}

function createValue(schema: Members, name: string, depth: number): unknown {
  switch (schema['type']) {
    case 'object':
      return createBody(schema, depth + 1)
    case 'array':
      return hasSchema(schema['items']) ? [createValue(schema['items'], name, depth + 1)] : []
    case 'integer':
    case 'number':
      return Number(exampleOf(schema, name))
    case 'boolean':
      return true
    default:
      return exampleOf(schema, name)
  }
}
