/**
 * `Encrypted(...)`: how a TypeBox schema says that a value is kept encrypted.
 *
 * The mark has to survive every copy that TypeBox and Fastify make of a schema, and Ajv's strict
 * mode; of all keywords only `$comment` does. What cannot be copied as text is kept beside it.
 */
import { Kind, type TSchema } from '@sinclair/typebox'
import { columnsOf, type BlindIndex } from './blind-index.ts'
import { PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA } from './errors.ts'
import type { Mask } from './masks.ts'
import { codecOf, type ValueCodec } from './values.ts'

/** What {@link Encrypted} takes. */
export interface EncryptedOptions {
  /**
   * Roles that see the value in a reply and in `decryptRecord(row, { roles })`. `'never'`: it is in
   * no reply, and only `decryptValue` opens it. @default no role
   */
  readonly reveal?: readonly string[] | 'never'
  /** What other roles see, by role; `default` is for all the rest. Text only. @default nothing */
  readonly mask?: Readonly<Record<string, Mask>>
  /** Blind indexes, each under the name of its column. */
  readonly index?: Readonly<Record<string, BlindIndex>>
  /** Rounds the length up to a multiple, 2 to 65 536 bytes, so that it tells less. @default off */
  readonly padBytes?: number
}

/** How a value is encrypted, read and checked. */
export interface EncryptedField {
  readonly codec: ValueCodec
  readonly reveal: ReadonlySet<string> | 'never'
  readonly masks: ReadonlyMap<string, Mask>
  readonly indexes: ReadonlyMap<string, BlindIndex>
  readonly padBytes: number
  /** The most characters that the schema allows a text, where it says so. */
  readonly maxLength: number | undefined
}

const OPTION_NAMES = new Set(['reveal', 'mask', 'index', 'padBytes'])
const MARKER = 'parapet-encrypted:'
const MAX_PAD_BYTES = 65_536
/** What may stand in a column's name without being quoted. */
const IDENTIFIER = /^[a-z_][a-z0-9_]{0,59}$/
/** Shared by every copy of this package in a process, so that a number means one field. */
const kFields = Symbol.for('@parapet/field-encryption:fields@0')
const shared = globalThis as { [kFields]?: EncryptedField[] }
const fields: EncryptedField[] = (shared[kFields] ??= [])

/**
 * Marks a schema: its value is stored encrypted, tied to its row and column. Its static type stays
 * what it is. Call it where schemas are declared: what it marks is kept as long as the process.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA an unknown option, a mask on what is no text.
 */
// oxlint-disable-next-line func-style -- named as the types of TypeBox are
export function Encrypted<T extends TSchema>(schema: T, options: EncryptedOptions = {}): T {
  const field = readField(schema, options)
  return { ...schema, $comment: `${MARKER}${fields.push(field) - 1}` }
}

function readField(schema: TSchema, options: EncryptedOptions): EncryptedField {
  const unknown = Object.keys(options).find((name) => !OPTION_NAMES.has(name))
  if (unknown !== undefined) refuse(`the option "${unknown}" is unknown`)
  const codec = codecOf(schema)
  const { reveal = [], mask = {}, index = {}, padBytes = 0 } = options
  if (padBytes !== 0 && !(Number.isInteger(padBytes) && padBytes >= 2 && padBytes <= MAX_PAD_BYTES))
    refuse(`padBytes must be 2 to ${MAX_PAD_BYTES}`)
  const masks = Object.entries(mask)
  const isText = codec.expected === codecOf({ [Kind]: 'String', params: [], static: '' }).expected
  if (masks.length > 0 && !isText) refuse('only text can be masked')
  if (reveal === 'never' && masks.length > 0) refuse('what is never revealed has no mask')
  const indexes = Object.entries(index)
  for (const [name, definition] of indexes) {
    if (!columnsOf(name, definition).every((column) => IDENTIFIER.test(column))) {
      refuse(`"${name}" is no plain name of a column`)
    }
  }
  const { maxLength } = schema as { readonly maxLength?: number }
  return Object.freeze({
    codec,
    reveal: reveal === 'never' ? reveal : new Set(reveal),
    masks: new Map(masks),
    indexes: new Map(indexes),
    padBytes,
    maxLength: isText ? maxLength : undefined,
  })
}

/** The field that a schema marks, or `undefined`. */
export function encryptedFieldOf(schema: unknown): EncryptedField | undefined {
  const comment = (schema as { readonly $comment?: unknown } | null)?.$comment
  if (typeof comment !== 'string' || !comment.startsWith(MARKER)) return undefined
  const field = fields[Number(comment.slice(MARKER.length))]
  if (field === undefined) refuse('the mark of this schema was made in another process')
  return field
}

/** What a caller with these roles sees of a field. */
export type Disclosure = 'reveal' | 'withhold' | Mask

/** Decides for a field: revealed by any role that may read it, else masked, else withheld. */
export function decideDisclosure(field: EncryptedField, roles: readonly string[]): Disclosure {
  const { reveal, masks } = field
  if (reveal === 'never') return 'withhold'
  if (roles.some((role) => reveal.has(role))) return 'reveal'
  const own = roles.find((role) => masks.has(role))
  return masks.get(own ?? 'default') ?? 'withhold'
}

function refuse(problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_SCHEMA('Encrypted', problem)
}
