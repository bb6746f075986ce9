/** Which codec a schema needs. A schema whose values no codec keeps is refused. */
import { isTransform, kindOf, type SchemaKeywords } from './schema-types.ts'
import { codecs, type ValueCodec, type ValueType } from './value-codecs.ts'

/** How the values of a schema are written and read. */
export interface ValueCodecs {
  readonly codec: ValueCodec
  /** Reads the values that were written before the type was part of their context. */
  readonly untagged: ValueCodec
  /** The schema without `null`, which is never encrypted. */
  readonly inner: SchemaKeywords
}

/** `type` in JSON Schema and in TypeBox. */
const TYPES: Readonly<Record<string, ValueType>> = {
  string: 'text',
  RegExp: 'text',
  number: 'number',
  integer: 'integer',
  boolean: 'boolean',
  Date: 'date',
  bigint: 'bigint',
  Uint8Array: 'bytes',
  object: 'json',
  array: 'json',
}
/** The codecs that earlier versions chose, by the kind of the TypeBox schema; JSON for any other. */
const UNTAGGED: Readonly<Record<string, ValueType>> = {
  BigInt: 'bigint',
  Boolean: 'boolean',
  Date: 'date',
  Integer: 'integer',
  Number: 'number',
  String: 'text',
}
/** Kinds without a `type` whose values are no data. */
const NO_DATA = new Set(['Never', 'Undefined', 'Void', 'Symbol', 'Promise', 'AsyncIterator'])
/** Keywords with schemas by name. */
const NAMED_SCHEMAS = new Set(['properties', 'patternProperties', '$defs', 'definitions'])
/** Keywords with values, which may look like schemas. */
const VALUE_KEYWORDS = new Set(['const', 'enum', 'default', 'examples'])

/**
 * The codecs of a schema.
 *
 * @param refuse called with what is unsupported.
 */
export function valueCodecsOf(schema: object, refuse: (problem: string) => never): ValueCodecs {
  const inner = withoutNull(schema)
  const type = typeOf(inner, refuse)
  if (type === 'json') requireJson(inner, '', refuse, new Set())
  return { codec: codecs[type], untagged: codecs[untaggedTypeOf(schema)], inner }
}

/** The one schema of a union that is not `null`, or the schema itself. */
function withoutNull(schema: SchemaKeywords): SchemaKeywords {
  const variants = (schema.anyOf ?? schema.oneOf)?.filter(({ type }) => type !== 'null')
  return variants?.length === 1 ? withoutNull(variants[0]!) : schema
}

function typeOf(schema: SchemaKeywords, refuse: (problem: string) => never): ValueType {
  if (isTransform(schema)) {
    refuse(
      'a schema that converts its values is not supported: encrypt the value before it is decoded',
    )
  }
  const { type, anyOf, oneOf } = schema
  const variants = (anyOf ?? oneOf)?.filter((variant) => variant.type !== 'null')
  if (variants !== undefined) return commonType(variants.map((each) => typeOf(each, refuse)))
  const types = (Array.isArray(type) ? (type as unknown[]) : [type]).filter(
    (each) => each !== 'null',
  )
  if (types.length === 1 && types[0] !== undefined) return requireType(types[0], refuse)
  const kind = kindOf(schema)
  if (types.length === 0 || (typeof kind === 'string' && NO_DATA.has(kind))) {
    return requireType(kind, refuse)
  }
  if (types.length > 1) return commonType(types.map((each) => requireType(each, refuse)))
  return commonType(constantsOf(schema).map((value) => requireType(typeof value, refuse)))
}

function requireType(type: unknown, refuse: (problem: string) => never): ValueType {
  const found = typeof type === 'string' && Object.hasOwn(TYPES, type) ? TYPES[type] : undefined
  return found ?? refuse(`a value of the type ${String(type)} cannot be stored`)
}

/** JSON keeps apart what no single codec does: the string "12" and the number 12. */
function commonType(types: readonly ValueType[]): ValueType {
  const distinct = new Set(types)
  if (distinct.size === 2 && distinct.has('integer') && distinct.has('number')) return 'number'
  return distinct.size === 1 ? types[0]! : 'json'
}

function constantsOf(schema: SchemaKeywords): readonly unknown[] {
  return schema.enum ?? (schema.const === undefined ? [] : [schema.const])
}

function untaggedTypeOf(schema: SchemaKeywords): ValueType {
  const kind = kindOf(schema)
  const { type } = schema
  const name = kind === 'Unsafe' && typeof type === 'string' ? capitalize(type) : kind
  return (typeof name === 'string' && Object.hasOwn(UNTAGGED, name) && UNTAGGED[name]) || 'json'
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** Refuses what JSON would change: a date becomes a string, bytes become an object. */
function requireJson(
  schema: unknown,
  path: string,
  refuse: (problem: string) => never,
  seen: Set<unknown>,
): void {
  if (typeof schema !== 'object' || schema === null || seen.has(schema)) return
  seen.add(schema)
  const { type } = schema as SchemaKeywords
  const isChanged = typeof type === 'string' && path !== '' && !isJsonType(type)
  if (isChanged || isTransform(schema)) {
    refuse(`JSON cannot hold ${path.slice(1)}, a ${String(type)}: put Encrypted around that member`)
  }
  for (const [keyword, part] of Object.entries(schema)) {
    if (VALUE_KEYWORDS.has(keyword)) continue
    // The names of members are no keywords: one may be called "default".
    const parts = NAMED_SCHEMAS.has(keyword) ? Object.entries(part as object) : [[keyword, part]]
    for (const [name, each] of parts as [string, unknown][]) {
      requireJson(each, `${path}.${name}`, refuse, seen)
    }
  }
}

function isJsonType(type: string): boolean {
  if (type === 'null') return true
  const name = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined
  return name !== undefined && name !== 'date' && name !== 'bigint' && name !== 'bytes'
}
