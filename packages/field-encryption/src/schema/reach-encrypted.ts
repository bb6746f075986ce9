/** Looks for encrypted values anywhere in a schema, through its references. */
import { encryptedFieldOf } from './encrypted.ts'

/** Resolves a `$ref` to a schema, and to the root that the schema's own references start from. */
export type RefResolver = (
  ref: string,
  root: unknown,
) => { readonly schema: unknown; readonly root: unknown } | undefined

/** Keywords with schemas by name: what is under them are names, no keywords. */
const NAMED_SCHEMAS = new Set([
  'properties',
  'patternProperties',
  'dependencies',
  'dependentSchemas',
  '$defs',
  'definitions',
])
/** Keywords with values: a reference in them is no reference. */
const VALUE_KEYWORDS = new Set(['const', 'enum', 'default', 'examples'])

/**
 * Whether anything in a part of a schema is marked, under any keyword and through every reference. A
 * reference without a schema counts as marked: it is not known what it hides.
 *
 * @param root the schema that the references of this part start from.
 */
export function reachesEncrypted(part: unknown, resolve: RefResolver, root: unknown): boolean {
  return new Search(resolve).reaches(part, root)
}

class Search {
  readonly #resolve: RefResolver
  readonly #seen = new Set<unknown>()

  constructor(resolve: RefResolver) {
    this.#resolve = resolve
  }

  reaches(part: unknown, root: unknown): boolean {
    if (typeof part !== 'object' || part === null || this.#seen.has(part)) return false
    this.#seen.add(part)
    if (encryptedFieldOf(part) !== undefined) return true
    return Object.entries(part).some(([keyword, value]) => {
      if (VALUE_KEYWORDS.has(keyword)) return false
      if (keyword === '$ref' && typeof value === 'string') return this.#follow(value, root)
      if (!NAMED_SCHEMAS.has(keyword) || typeof value !== 'object' || value === null) {
        return this.reaches(value, root)
      }
      return Object.values(value as object).some((each) => this.reaches(each, root))
    })
  }

  #follow(ref: string, root: unknown): boolean {
    const target = this.#resolve(ref, root)
    return target === undefined || this.reaches(target.schema, target.root)
  }
}

/**
 * Resolves `User`, `User#`, `#/definitions/User` and `User#/properties/address`: first in the root, as a
 * recursive type needs it.
 *
 * @param schemaOf the other schemas, by their `$id`.
 */
export function createRefResolver(schemaOf: (id: string) => unknown): RefResolver {
  return (ref, root) => {
    const [id = '', pointer = ''] = ref.split('#')
    const found = id === '' ? root : (findById(root, id) ?? schemaOf(id))
    const target = pointer.startsWith('/')
      ? followPointer(found, pointer)
      : pointer === ''
        ? found
        : findById(found, `#${pointer}`)
    return target === undefined ? undefined : { schema: target, root: found }
  }
}

/** @see RFC 6901 */
function followPointer(schema: unknown, pointer: string): unknown {
  let target = schema
  for (const part of pointer.split('/').slice(1)) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
    const parent = target as Readonly<Record<string, unknown>> | null | undefined
    target = parent && Object.hasOwn(parent, name) ? parent[name] : undefined
  }
  return target
}

/** The part of a schema with this `$id`. */
function findById(part: unknown, id: string, seen = new Set<unknown>()): unknown {
  if (typeof part !== 'object' || part === null || seen.has(part)) return undefined
  seen.add(part)
  if ((part as { readonly $id?: unknown }).$id === id) return part
  for (const each of Object.values(part)) {
    const found = findById(each, id, seen)
    if (found !== undefined) return found
  }
  return undefined
}
