/** Schemas of both packages of TypeBox, and of plain JSON Schema. None of them is imported at run time. */

/** @ts-ignore: an optional peer; without it, types of `@sinclair/typebox` are still read. */
import type { Static as StaticOfTypebox1 } from 'typebox'

/** A type of `@sinclair/typebox`. */
interface SinclairType {
  readonly params: unknown[]
  readonly static: unknown
}

/** The static type of a schema: of `@sinclair/typebox` 0.34, of `typebox` 1, or JSON Schema. */
export type StaticOf<T extends object> = T extends SinclairType
  ? (T & { params: [] })['static']
  : StaticOfTypebox1<T>

/** The schema of an object, as `Type.Object` returns it. */
export interface ObjectSchema {
  readonly type: 'object'
  readonly properties: Readonly<Record<string, object>>
}

/** The keywords that decide how a value is written. */
export interface SchemaKeywords {
  readonly type?: unknown
  readonly anyOf?: readonly SchemaKeywords[]
  readonly oneOf?: readonly SchemaKeywords[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly maxLength?: number
}

const kKind = Symbol.for('TypeBox.Kind')
const kTransform = Symbol.for('TypeBox.Transform')

/** The kind of a TypeBox schema: `String`, `Union`; `undefined` for plain JSON Schema. */
export function kindOf(schema: object): unknown {
  const { [kKind]: old, '~kind': kind } = schema as { [kKind]?: unknown; '~kind'?: unknown }
  return old ?? kind
}

/** Whether a schema converts its values: `Type.Transform`, or `Type.Codec` in `typebox` 1. */
export function isTransform(schema: object): boolean {
  return kTransform in schema || '~codec' in schema
}
