/** Finds the encrypted values of a schema, and compiles them to a tree that rows and payloads are walked by. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA } from '../errors.ts'
import { encryptedFieldOf, type EncryptedField } from './encrypted.ts'
import { createRefResolver, reachesEncrypted, type RefResolver } from './reach-encrypted.ts'

/** A part of a schema that contains encrypted values. */
export type SchemaNode =
  | { readonly kind: 'leaf'; readonly field: EncryptedField; readonly required: boolean }
  | ObjectNode
  | { readonly kind: 'array'; readonly items: SchemaNode }

/** An object that contains encrypted values. */
export interface ObjectNode {
  readonly kind: 'object'
  readonly members: ReadonlyMap<string, SchemaNode>
  /** Every declared member, also those without encrypted values. */
  readonly names: ReadonlySet<string>
  /** Whether the schema explicitly allows other members. */
  readonly isOpen: boolean
}

/** The keywords of a JSON Schema that are read here. */
interface JsonSchema {
  readonly type?: unknown
  readonly additionalProperties?: unknown
  readonly patternProperties?: unknown
  readonly properties?: Readonly<Record<string, unknown>>
  readonly required?: readonly string[]
  readonly items?: unknown
  readonly anyOf?: readonly unknown[]
  readonly oneOf?: readonly unknown[]
  readonly $ref?: unknown
}

/** Under any other keyword (`allOf`, `additionalProperties`, …) it is not known which schema a value has. */
const FOLLOWED = new Set(['properties', 'items'])
const UNIONS = ['anyOf', 'oneOf'] as const
/** Such a member name would make paths ambiguous. */
const UNSAFE_NAME = /[.*]|^\d+$|^__proto__$|^$/

/**
 * Compiles a schema.
 *
 * @param where names the schema in error messages.
 * @returns `undefined` if nothing in it is encrypted.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA something encrypted is in a union, a tuple, a
 *   recursive schema or behind an unknown reference. A union of one schema and null is supported.
 */
export function compileSchema(
  schema: unknown,
  where: string,
  resolve: RefResolver,
): SchemaNode | undefined {
  if (!reachesEncrypted(schema, resolve, schema)) return undefined
  return new SchemaCompiler(schema, where, resolve).compile(schema, true)
}

class SchemaCompiler {
  #root: unknown
  readonly #where: string
  readonly #resolve: RefResolver
  /** The schemas on the path from the root, to detect recursion. */
  readonly #open = new Set<unknown>()

  constructor(root: unknown, where: string, resolve: RefResolver) {
    this.#root = root
    this.#where = where
    this.#resolve = resolve
  }

  compile(schema: unknown, required: boolean): SchemaNode | undefined {
    if (typeof schema !== 'object' || schema === null) return undefined
    const field = encryptedFieldOf(schema)
    if (field !== undefined) return { kind: 'leaf', field, required }
    if (this.#open.has(schema)) {
      if (this.#reaches(schema)) this.#refuse('a recursive schema cannot contain Encrypted')
      return undefined
    }
    this.#open.add(schema)
    const node = this.#compileOpen(schema, required)
    this.#open.delete(schema)
    return node
  }

  #compileOpen(schema: JsonSchema, required: boolean): SchemaNode | undefined {
    if (typeof schema.$ref === 'string') return this.#compileRef(schema, schema.$ref, required)
    const nullable = findNullable(schema)
    if (nullable !== undefined && this.#reaches(nullable.schema)) {
      this.#refuseUnder(schema, new Set([nullable.keyword]))
      return this.compile(nullable.schema, required)
    }
    this.#refuseUnder(schema, FOLLOWED)
    if (Array.isArray(schema.items)) {
      if (this.#reaches(schema.items)) this.#refuse('Encrypted cannot be in a tuple')
      return this.#compileMembers(schema)
    }
    const items = this.compile(schema.items, false)
    const object = this.#compileMembers(schema)
    if (items !== undefined && object !== undefined) {
      this.#refuse('Encrypted cannot be under "items" and "properties" of one schema')
    }
    return items === undefined ? object : { kind: 'array', items }
  }

  #compileRef(schema: JsonSchema, ref: string, required: boolean): SchemaNode | undefined {
    this.#refuseUnder(schema, new Set(['$ref']))
    const target = this.#resolve(ref, this.#root)
    if (target === undefined) this.#refuse(`there is no schema for the reference "${ref}"`)
    const home = this.#root
    this.#root = target.root
    const node = this.compile(target.schema, required)
    this.#root = home
    return node
  }

  /** Refuses what is encrypted under any keyword but these. */
  #refuseUnder(schema: object, supported: ReadonlySet<string>): void {
    for (const [keyword, part] of Object.entries(schema) as [string, unknown][]) {
      if (supported.has(keyword) || !this.#reaches({ [keyword]: part })) continue
      this.#refuse(
        `Encrypted, or a reference without a schema, cannot be under "${keyword}": ` +
          'put Encrypted around the whole schema',
      )
    }
  }

  #reaches(part: unknown): boolean {
    return reachesEncrypted(part, this.#resolve, this.#root)
  }

  #compileMembers(schema: JsonSchema): SchemaNode | undefined {
    const { properties = {}, required = [], additionalProperties = false } = schema
    const members = new Map<string, SchemaNode>()
    for (const [name, part] of Object.entries(properties)) {
      const node = this.compile(part, required.includes(name))
      if (node === undefined) continue
      if (UNSAFE_NAME.test(name)) {
        this.#refuse(
          `a member with Encrypted must not be a number, "__proto__", or have "." or "*": "${name}"`,
        )
      }
      members.set(name, node)
    }
    if (members.size === 0) return undefined
    const isOpen = additionalProperties !== false || schema.patternProperties !== undefined
    return { kind: 'object', members, names: new Set(Object.keys(properties)), isOpen }
  }

  #refuse(problem: string): never {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(this.#where, problem)
  }
}

/** The schema of a union of one schema and null, such as an optional relation. */
function findNullable(schema: JsonSchema) {
  for (const keyword of UNIONS) {
    const variants = schema[keyword]
    if (!Array.isArray(variants)) continue
    const others = variants.filter((each: JsonSchema | null) => each?.type !== 'null')
    if (others.length === 1) return { keyword, schema: others[0] as unknown }
  }
  return undefined
}

/** Resolves references within one schema: the schema of a table has no other source. */
const resolveInside = createRefResolver(() => undefined)

/**
 * Compiles the schema of a table. A row has no other members, whatever the schema says: each is a column.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA there are none.
 */
export function compileTableSchema(table: string, schema: object): ObjectNode {
  const node = compileSchema(schema, `table "${table}"`, resolveInside)
  if (node?.kind !== 'object') {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(
      `table "${table}"`,
      'it must be an object schema with at least one Encrypted member',
    )
  }
  return { ...node, isOpen: false }
}
