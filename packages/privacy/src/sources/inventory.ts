/** The inventory of personal data: members of JSON Schemas that are marked, and where they are stored. */
import type { RegisteredSource } from './source.ts'

/** The keyword of the mark. */
const PERSONAL_KEYWORD = 'x-personal'

/** What a mark says. */
export interface PersonalMark {
  /** For instance of the Fides taxonomy: `user.contact.email`. */
  readonly category: string
  /** The source that holds the field. @default the source or table whose schema it is in */
  readonly source?: string
  /** The field in that source. @default the name of the member */
  readonly field?: string
}

/**
 * Marks a schema as personal data: `personal(Type.String(), { category: 'user.contact.email' })`.
 *
 * @returns a copy of the schema.
 */
export function personal<T extends object>(schema: T, mark: PersonalMark): T {
  return { ...schema, [PERSONAL_KEYWORD]: Object.freeze({ ...mark }) }
}

/** A schema to search, and the name of the table or source that it describes. */
export interface NamedSchema {
  readonly name: string
  readonly schema: object
}

/** One marked member. */
export interface InventoryEntry {
  readonly category: string
  readonly source: string
  readonly field: string
  /** The schema in which it was found. */
  readonly foundIn: string
  readonly storedIn: string | null
  /** By a mark of the schema, or by the source as a whole. */
  readonly encrypted: boolean
  readonly erasure: string | null
  /** Whether the registry has this source and this field. */
  readonly registered: boolean
}

interface Found {
  readonly path: readonly string[]
  readonly mark: PersonalMark
  readonly encrypted: boolean
}

const MAX_DEPTH = 32
const MAX_SCHEMAS = 20_000

/**
 * Lists the marked members of the schemas of the registry and of further ones.
 *
 * @param isEncrypted says whether a member is encrypted by itself, from its schema.
 */
export function listInventory(
  sources: readonly RegisteredSource[],
  further: readonly NamedSchema[],
  isEncrypted: (schema: Readonly<Record<string, unknown>>) => boolean,
): InventoryEntry[] {
  const own = sources.flatMap(({ name, schema }) =>
    schema === undefined ? [] : [{ name, schema }],
  )
  const all = [...own, ...further]
  const byId = new Map(all.map(({ schema }) => [String((schema as JsonSchema)['$id']), schema]))
  return all.flatMap(({ name, schema: root }) =>
    findMarks(root, { isEncrypted, root, byId, left: MAX_SCHEMAS }).map(
      ({ path, mark, encrypted }): InventoryEntry => {
        const { category, source: owner = name, field = path.join('.') || '*' } = mark
        const source = sources.find((each) => each.name === owner)
        const strategy = source?.fields[field]
        return {
          category,
          source: owner,
          field,
          foundIn: name,
          storedIn: source?.storedIn ?? null,
          encrypted: encrypted || (source?.encrypted ?? false),
          erasure: typeof strategy === 'object' ? `retain: ${strategy.retain}` : (strategy ?? null),
          registered: strategy !== undefined,
        }
      },
    ),
  )
}

/** `true`, as other tools write it, is a mark without a category. */
function markOf(value: unknown): PersonalMark | undefined {
  if (value === true) return { category: 'user' }
  return typeof value === 'object' && value !== null ? (value as PersonalMark) : undefined
}

/** What a search needs to know besides the place where it is. */
interface Search {
  readonly isEncrypted: (schema: JsonSchema) => boolean
  /** The schema that the references `#/…` are in. */
  readonly root: unknown
  readonly byId: ReadonlyMap<string, unknown>
  /** How many more schemas are looked at: there may be more ways through references than time. */
  left: number
}

type JsonSchema = Readonly<Record<string, unknown>>

/** Schemas of the same value, or of values that have no name of their own. */
const INNER = [
  'anyOf',
  'allOf',
  'oneOf',
  'if',
  'then',
  'else',
  'items',
  'prefixItems',
  'additionalItems',
  'unevaluatedItems',
  'contains',
  'additionalProperties',
  'unevaluatedProperties',
] as const
const INNER_MAPS = ['patternProperties', 'dependentSchemas'] as const

/** @param way the references that lead here: a recursive schema is searched once. */
function findMarks(
  schema: unknown,
  search: Search,
  path: readonly string[] = [],
  way: readonly unknown[] = [],
): Found[] {
  if (!isSchema(schema) || path.length > MAX_DEPTH || search.left-- <= 0) return []
  const find = (each: unknown, name: readonly string[] = []) =>
    findMarks(each, search, [...path, ...name], way)
  const mark = markOf(schema[PERSONAL_KEYWORD])
  const here = mark === undefined ? [] : [{ path, mark, encrypted: search.isEncrypted(schema) }]
  const properties = entriesOf(schema['properties']).flatMap(([name, each]) => find(each, [name]))
  const inner = INNER.flatMap((key) => [schema[key]].flat()).flatMap((each) => find(each))
  const maps = INNER_MAPS.flatMap((key) => entriesOf(schema[key])).flatMap(([, each]) => find(each))
  const { $ref: ref } = schema
  const isNew = typeof ref === 'string' && !way.includes(ref)
  const referred = isNew ? findMarks(resolve(ref, search), search, path, [...way, ref]) : []
  return [...here, ...properties, ...inner, ...maps, ...referred]
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null
}

function entriesOf(value: unknown): [string, unknown][] {
  return isSchema(value) ? Object.entries(value) : []
}

/** By a JSON Pointer, by the id of a schema, or by a name in `$defs`, as TypeBox writes it. */
function resolve(ref: string, { root, byId }: Search): unknown {
  if (!ref.startsWith('#')) {
    return (
      byId.get(ref) ?? entriesOf((root as JsonSchema)['$defs']).find(([name]) => name === ref)?.[1]
    )
  }
  const names = ref.slice(1).split('/').slice(1)
  return names.reduce<unknown>((each, name) => {
    const key = decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~')
    return isSchema(each) && Object.hasOwn(each, key) ? each[key] : undefined
  }, root)
}
