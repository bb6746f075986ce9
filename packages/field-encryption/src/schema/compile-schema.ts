/** Finds the encrypted values of a schema, and compiles them to a tree that rows and payloads are walked by. */
import { PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA } from '../errors.ts'
import { encryptedFieldOf, type EncryptedField } from './encrypted.ts'

/** A part of a schema that contains encrypted values. */
export type SchemaNode =
  | { readonly kind: 'leaf'; readonly field: EncryptedField; readonly required: boolean }
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, SchemaNode> }
  | { readonly kind: 'array'; readonly items: SchemaNode }

/** The keywords of a JSON Schema that are read here. */
interface JsonSchema {
  readonly properties?: Readonly<Record<string, unknown>>
  readonly required?: readonly string[]
  readonly items?: unknown
  readonly $ref?: string
}

/** Resolves a `$ref` to a schema, and to the root that the schema's own references start from. */
export type RefResolver = (
  ref: string,
  root: unknown,
) => { readonly schema: unknown; readonly root: unknown } | undefined

/**
 * Keywords that are followed. Under any other one (`anyOf`, `additionalProperties`, …) it is not known
 * which schema a stored value has.
 */
const FOLLOWED = new Set(['properties', 'items', '$ref'])
/** Such a member name would make paths ambiguous. */
const UNSAFE_NAME = /[.*]|^\d+$|^__proto__$|^$/

/**
 * Compiles a schema.
 *
 * @param where names the schema in error messages.
 * @returns `undefined` if nothing in it is encrypted.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA something encrypted is in a union, a tuple, a
 *   recursive schema or behind an unknown reference.
 */
export function compileSchema(
  schema: unknown,
  where: string,
  resolve: RefResolver,
): SchemaNode | undefined {
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
      if (holdsEncrypted(schema)) this.#refuse('a recursive schema cannot contain Encrypted')
      return undefined
    }
    this.#open.add(schema)
    const node = this.#compileOpen(schema, required)
    this.#open.delete(schema)
    return node
  }

  #compileOpen(schema: JsonSchema, required: boolean): SchemaNode | undefined {
    if (schema.$ref !== undefined) return this.#compileRef(schema.$ref, required)
    for (const [keyword, part] of Object.entries(schema)) {
      if (!FOLLOWED.has(keyword) && holdsEncrypted(part)) {
        this.#refuse(`Encrypted cannot be under "${keyword}": put it around the whole schema`)
      }
    }
    if (Array.isArray(schema.items)) {
      if (holdsEncrypted(schema.items)) this.#refuse('Encrypted cannot be in a tuple')
      return undefined
    }
    const items = this.compile(schema.items, false)
    if (items !== undefined) return { kind: 'array', items }
    return this.#compileMembers(schema)
  }

  #compileRef(ref: string, required: boolean): SchemaNode | undefined {
    const target = this.#resolve(ref, this.#root)
    if (target === undefined) this.#refuse(`there is no schema for the reference "${ref}"`)
    const home = this.#root
    this.#root = target.root
    const node = this.compile(target.schema, required)
    this.#root = home
    return node
  }

  #compileMembers({ properties = {}, required = [] }: JsonSchema): SchemaNode | undefined {
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
    return members.size === 0 ? undefined : { kind: 'object', members }
  }

  #refuse(problem: string): never {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(this.#where, problem)
  }
}

/** Whether anything in a schema is marked. References are not followed. */
export function holdsEncrypted(part: unknown, seen = new Set<unknown>()): boolean {
  if (typeof part !== 'object' || part === null || seen.has(part)) return false
  seen.add(part)
  return (
    encryptedFieldOf(part) !== undefined ||
    Object.values(part).some((each) => holdsEncrypted(each, seen))
  )
}

/** The part of a schema with this `$id`, as a recursive type has it. */
export function findById(part: unknown, id: string, seen = new Set<unknown>()): unknown {
  if (typeof part !== 'object' || part === null || seen.has(part)) return undefined
  seen.add(part)
  if ((part as { readonly $id?: unknown }).$id === id) return part
  for (const each of Object.values(part)) {
    const found = findById(each, id, seen)
    if (found !== undefined) return found
  }
  return undefined
}

/** Resolves references within one schema: the schema of a table has no other source. */
const resolveInside: RefResolver = (ref, root) => {
  const schema = findById(root, ref)
  return schema === undefined ? undefined : { schema, root }
}

/**
 * The encrypted columns of a table's schema.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA there are none.
 */
export function compileTableSchema(table: string, schema: object): ReadonlyMap<string, SchemaNode> {
  const node = compileSchema(schema, `table "${table}"`, resolveInside)
  if (node?.kind !== 'object') {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(
      `table "${table}"`,
      'it must be an object schema with at least one Encrypted member',
    )
  }
  return node.members
}
