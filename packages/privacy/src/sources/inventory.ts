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
  return [...own, ...further].flatMap(({ name, schema }) =>
    findMarks(schema, isEncrypted).map(({ path, mark, encrypted }): InventoryEntry => {
      const { category, source: owner = name, field = path.join('.') } = mark
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
    }),
  )
}

/** `true`, as other tools write it, is a mark without a category. */
function markOf(value: unknown): PersonalMark | undefined {
  if (value === true) return { category: 'user' }
  return typeof value === 'object' && value !== null ? (value as PersonalMark) : undefined
}

function findMarks(
  schema: unknown,
  isEncrypted: (schema: Readonly<Record<string, unknown>>) => boolean,
  path: readonly string[] = [],
): Found[] {
  if (typeof schema !== 'object' || schema === null || path.length > MAX_DEPTH) return []
  const node = schema as Readonly<Record<string, unknown>>
  const mark = markOf(node[PERSONAL_KEYWORD])
  const here = mark === undefined ? [] : [{ path, mark, encrypted: isEncrypted(node) }]
  const properties = Object.entries((node['properties'] ?? {}) as Record<string, unknown>)
  const inner = properties.flatMap(([name, each]) => findMarks(each, isEncrypted, [...path, name]))
  const alternatives = ['anyOf', 'allOf', 'oneOf', 'items']
    .flatMap((key) => (node[key] === undefined ? [] : [node[key]].flat()))
    .flatMap((each) => findMarks(each, isEncrypted, path))
  return [...here, ...inner, ...alternatives]
}
