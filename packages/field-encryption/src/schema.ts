/** Finds the encrypted values of a schema: which members to walk, and what to do at each leaf. */
import type { TSchema } from '@sinclair/typebox'
import { encryptedFieldOf, type EncryptedField } from './encrypted.ts'
import { PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA } from './errors.ts'

/** A part of a schema with something encrypted in it. */
export type SchemaNode =
  | { readonly kind: 'leaf'; readonly field: EncryptedField; readonly required: boolean }
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, SchemaNode> }
  | { readonly kind: 'array'; readonly items: SchemaNode }

/** The parts of a JSON schema that are read here. */
interface JsonSchema {
  readonly properties?: Readonly<Record<string, unknown>>
  readonly required?: readonly string[]
  readonly items?: unknown
  readonly $ref?: string
}

/** Finds what a `$ref` means, and the schema that its own references start from. */
export type RefResolver = (
  ref: string,
  root: unknown,
) => { readonly schema: unknown; readonly root: unknown } | undefined

/** Keywords under which a value is of one kind or another: what is stored there cannot be told. */
const WALKED = new Set(['properties', 'items', '$ref'])

/**
 * Compiles a schema.
 *
 * @param where for the message.
 * @returns `undefined` where nothing is encrypted.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA something encrypted stands where it cannot be found
 *   again: in a union, behind a reference that nobody knows, in itself.
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
      // Only what holds nothing encrypted may hold itself.
      if (holdsEncrypted(schema)) this.#refuse('what holds itself cannot hold anything encrypted')
      return undefined
    }
    this.#open.add(schema)
    const node = this.#compileOpen(schema, required)
    this.#open.delete(schema)
    return node
  }

  #compileOpen(schema: JsonSchema, required: boolean): SchemaNode | undefined {
    if (schema.$ref !== undefined) {
      const target = this.#resolve(schema.$ref, this.#root)
      if (target === undefined) this.#refuse(`the reference "${schema.$ref}" leads nowhere`)
      const home = this.#root
      this.#root = target.root
      const node = this.compile(target.schema, required)
      this.#root = home
      return node
    }
    for (const [keyword, part] of Object.entries(schema)) {
      if (!WALKED.has(keyword) && holdsEncrypted(part)) {
        this.#refuse(`Encrypted cannot stand under "${keyword}": put it around the whole`)
      }
    }
    if (Array.isArray(schema.items)) {
      if (holdsEncrypted(schema.items)) this.#refuse('Encrypted cannot stand in a tuple')
      return undefined
    }
    const items = this.compile(schema.items, false)
    if (items !== undefined) return { kind: 'array', items }
    return this.#compileMembers(schema)
  }

  #compileMembers({ properties = {}, required = [] }: JsonSchema): SchemaNode | undefined {
    const members = new Map<string, SchemaNode>()
    for (const [name, part] of Object.entries(properties)) {
      const node = this.compile(part, required.includes(name))
      if (node === undefined) continue
      // A path must have one reading.
      if (/[.*]|^\d+$|^__proto__$|^$/.test(name)) {
        this.#refuse(`the name "${name}" has no place in a path`)
      }
      members.set(name, node)
    }
    return members.size === 0 ? undefined : { kind: 'object', members }
  }

  #refuse(problem: string): never {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(this.#where, problem)
  }
}

/** Whether there is a mark anywhere below, references not followed. */
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

/** For a table: its schema must hold all that it means. */
const resolveInside: RefResolver = (ref, root) => {
  const schema = findById(root, ref)
  return schema === undefined ? undefined : { schema, root }
}

/** The encrypted columns of a table. @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA there is none */
export function compileTableSchema(
  table: string,
  schema: TSchema,
): ReadonlyMap<string, SchemaNode> {
  const node = compileSchema(schema, `table "${table}"`, resolveInside)
  if (node?.kind !== 'object') {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA(
      `table "${table}"`,
      'it must be an object with something Encrypted in it',
    )
  }
  return node.members
}
