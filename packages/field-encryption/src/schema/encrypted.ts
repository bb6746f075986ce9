/**
 * `Encrypted(...)` marks a schema of TypeBox, or plain JSON Schema: its value is stored encrypted.
 *
 * The mark must survive every copy that TypeBox and Fastify make of a schema, and Ajv's strict mode.
 * Only the keyword `$comment` does, so it holds a number, and the options are kept in a list.
 */
import { columnsOf, type BlindIndex } from '../blind-index/blind-index.ts'
import { PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA } from '../errors.ts'
import { mask as masksByName, type Mask } from './masks.ts'
import type { ValueCodec } from './value-codecs.ts'
import { valueCodecsOf } from './value-types.ts'

/** The options of {@link Encrypted}. */
export interface EncryptedOptions {
  /**
   * Roles that see the value in a response and in `decryptRecord(row, { roles })`. `'never'`: it is in
   * no response, and only `decryptValue` decrypts it. @default no role
   */
  readonly reveal?: readonly string[] | 'never'
  /**
   * What other roles see, by role; `default` applies to all remaining roles. Text only.
   * @default the value is left out
   */
  readonly mask?: Readonly<Record<string, Mask>>
  /** Blind indexes, by the name of their column. */
  readonly index?: Readonly<Record<string, BlindIndex>>
  /** Rounds the length up to a multiple of this, 2 to 65 536 bytes, to hide it. @default off */
  readonly padBytes?: number
}

/** How a field is encrypted and disclosed. */
export interface EncryptedField {
  readonly codec: ValueCodec
  /** Reads the values that were written before the type was part of their context. */
  readonly untagged: ValueCodec
  readonly reveal: ReadonlySet<string> | 'never'
  readonly masks: ReadonlyMap<string, Mask>
  readonly indexes: ReadonlyMap<string, BlindIndex>
  /** 0: no padding. */
  readonly padBytes: number
  /** The `maxLength` of a text's schema, in characters, if it has one. */
  readonly maxLength: number | undefined
}

const OPTION_NAMES = new Set(['reveal', 'mask', 'index', 'padBytes'])
const MARKER = 'parapet-encrypted:'
const MAX_PAD_BYTES = 65_536
/** The name of an index column: it needs no quotes in SQL. */
export const INDEX_NAME = /^[a-z_][a-z0-9_]{0,59}$/
/** Shared by all copies of this package in a process, so that a number means the same field in each. */
const kFields = Symbol.for('@parapet/field-encryption:fields@0')
const shared = globalThis as { [kFields]?: EncryptedField[] }
const fields: EncryptedField[] = (shared[kFields] ??= [])

/**
 * Marks a schema: its value is stored encrypted, bound to its row and column. The static type is
 * unchanged. Call it once for each declared schema, not for each request: marks are never freed.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA an option is unknown or invalid, a mask is set on a
 *   value that is not text, or the values of the schema cannot be stored without a change.
 */
// oxlint-disable-next-line func-style -- named like the types of TypeBox
export function Encrypted<T extends object>(schema: T, options: EncryptedOptions = {}): T {
  const field = readField(schema, options)
  const mark = `${MARKER}${fields.push(field) - 1}`
  // `typebox` 1 keeps the kind of a schema in members that a spread would not copy.
  return Object.defineProperties({} as T, {
    ...Object.getOwnPropertyDescriptors(schema),
    $comment: { value: mark, enumerable: true, writable: true, configurable: true },
  })
}

function readField(schema: object, options: EncryptedOptions): EncryptedField {
  if (encryptedFieldOf(schema) !== undefined) {
    refuse('the schema is Encrypted already: the options of one call would be lost')
  }
  const unknown = Object.keys(options).find((name) => !OPTION_NAMES.has(name))
  if (unknown !== undefined) {
    refuse(`the options are ${[...OPTION_NAMES].join(', ')}; got "${unknown}"`)
  }
  const { codec, untagged, inner } = valueCodecsOf(schema, refuse)
  const { reveal = [], mask = {}, index = {}, padBytes = 0 } = options
  checkPadding(padBytes)
  const masks = Object.entries(mask)
  const isText = codec.name === 'text'
  if (masks.length > 0 && !isText) refuse('"mask" is for text only')
  if (reveal === 'never' && masks.length > 0) refuse('a value with reveal "never" has no "mask"')
  for (const [role, each] of masks) checkMask(role, each)
  checkIndexNames(index)
  return Object.freeze({
    codec,
    untagged,
    reveal: reveal === 'never' ? reveal : new Set(reveal),
    masks: new Map(masks),
    indexes: new Map(Object.entries(index)),
    padBytes,
    maxLength: isText ? inner.maxLength : undefined,
  })
}

function checkMask(role: string, mask: unknown): void {
  const isMask = typeof mask === 'function' && !Object.values<unknown>(masksByName).includes(mask)
  if (isMask) return
  refuse(`the mask of "${role}" must be a function from text to text: call it, mask.email()`)
}

function checkPadding(padBytes: number): void {
  if (padBytes === 0) return
  if (Number.isInteger(padBytes) && padBytes >= 2 && padBytes <= MAX_PAD_BYTES) return
  refuse(`"padBytes" must be an integer from 2 to ${MAX_PAD_BYTES}, got ${String(padBytes)}`)
}

function checkIndexNames(indexes: Readonly<Record<string, BlindIndex>>): void {
  for (const [name, index] of Object.entries(indexes)) {
    if (columnsOf(name, index).every((column) => INDEX_NAME.test(column))) continue
    refuse(`the name of an index must match ${String(INDEX_NAME)}, got "${name}"`)
  }
}

/** The field that a schema marks; `undefined` if the schema has no mark. */
export function encryptedFieldOf(schema: unknown): EncryptedField | undefined {
  const comment = (schema as { readonly $comment?: unknown } | null)?.$comment
  if (typeof comment !== 'string' || !comment.startsWith(MARKER)) return undefined
  const field = fields[Number(comment.slice(MARKER.length))]
  if (field === undefined) refuse('this schema was marked in another process')
  return field
}

function refuse(problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA('Encrypted()', problem)
}
