/**
 * Blind indexes: search over encrypted values by a keyed hash (a token) in its own column.
 *
 * A token reveals which rows have equal values (or equal beginnings), and at most as many bits about
 * each as it is long. Fewer bits reveal less and cause a few false matches, which the caller drops
 * after decryption.
 */
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'
import { normalizerNames, normalizeText, type Normalizer } from './normalizers.ts'

/** The options of {@link blind}. */
export interface BlindIndexOptions {
  /** Applied in this order. @default none: texts are equal if their bytes are */
  readonly normalize?: readonly Normalizer[]
  /**
   * Length of a token, 8 to 256 bits; at least 128 with `unique`. At most so many bits of each value
   * leak.
   * @default 64, or 256 with `unique`, or 16 with `prefix`
   */
  readonly bits?: number
  /**
   * No two rows of a tenant may have the same value. The index has two columns, `<name>_a` and
   * `<name>_b`, each with a UNIQUE constraint, so that uniqueness holds while keys rotate.
   * @default false
   */
  readonly unique?: boolean
  /**
   * Finds values by their first characters, 1 to 64 of them, after normalization. Each length that is
   * searched for is an index of its own, and leaks its own bits.
   * @default the whole value is compared
   */
  readonly prefix?: number
}

/** A validated blind index. Frozen. */
export interface BlindIndex {
  readonly normalize: readonly Normalizer[]
  /** Length of a token, and the most bits that it reveals about the value of its row. */
  readonly bits: number
  readonly unique: boolean
  /** 0: the whole value. */
  readonly prefix: number
}

/** A blind index over several members of a row. Frozen. */
export interface CompoundIndex {
  readonly members: readonly string[]
  readonly index: BlindIndex
}

const MIN_BITS = 8
const MAX_BITS = 256
const MIN_UNIQUE_BITS = 128
const DEFAULT_BITS = 64
/** About the entropy of three letters: more would reveal nothing but false matches less. */
const DEFAULT_PREFIX_BITS = 16
const MAX_PREFIX = 64
const MAX_MEMBERS = 8

const OPTION_NAMES = ['normalize', 'bits', 'unique', 'prefix']

/** Declares a blind index. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
export function blind(options: BlindIndexOptions = {}): BlindIndex {
  const misspelled = Object.keys(options).find((name) => !OPTION_NAMES.includes(name))
  if (misspelled !== undefined) refuse(misspelled, `one of ${OPTION_NAMES.join(', ')}`)
  const { normalize = [], unique = false, prefix = 0 } = options
  const { bits = defaultBits(unique, prefix) } = options
  const least = unique ? MIN_UNIQUE_BITS : MIN_BITS
  if (!Number.isInteger(bits) || bits < least || bits > MAX_BITS) {
    refuse('bits', `an integer from ${least} to ${MAX_BITS}, got ${String(bits)}`)
  }
  const hasPrefix = options.prefix !== undefined
  if (hasPrefix && (!Number.isInteger(prefix) || prefix < 1 || prefix > MAX_PREFIX)) {
    refuse('prefix', `an integer from 1 to ${MAX_PREFIX} (characters), got ${String(prefix)}`)
  }
  if (hasPrefix && unique) refuse('prefix', 'absent if the index is unique')
  const unknown = normalize.find((name) => !normalizerNames.includes(name))
  if (unknown !== undefined) {
    refuse('normalize', `a list of ${normalizerNames.join(', ')}; got "${unknown}"`)
  }
  return Object.freeze({ normalize: Object.freeze([...normalize]), bits, unique, prefix })
}

function defaultBits(unique: boolean, prefix: number): number {
  if (unique) return MAX_BITS
  return prefix > 0 ? DEFAULT_PREFIX_BITS : DEFAULT_BITS
}

/**
 * Declares a blind index over several encrypted members of a row, which are searched together: a family
 * name and a date of birth. It reveals which rows agree in all of them, and nothing about one alone.
 *
 * @param members 2 to 8 of them; a row in which one is `null` is not found.
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT
 */
export function compound(
  members: readonly string[],
  options: Omit<BlindIndexOptions, 'prefix'> = {},
): CompoundIndex {
  const count = new Set(members).size
  if (count !== members.length || count < 2 || count > MAX_MEMBERS) {
    refuse('members', `2 to ${MAX_MEMBERS} different names`)
  }
  if ('prefix' in options) refuse('prefix', 'absent if the index has several members')
  return Object.freeze({ members: Object.freeze([...members]), index: blind(options) })
}

function refuse(name: string, expected: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
    `"${name}" of a blind index`,
    `must be ${expected}`,
  )
}

/** The columns of an index. */
export function columnsOf(name: string, { unique }: BlindIndex): readonly string[] {
  return unique ? [`${name}_a`, `${name}_b`] : [name]
}

/** The column that holds the tokens of one key. In a unique index the parity of the key id decides. */
export function columnOfKey(name: string, { unique }: BlindIndex, keyId: number): string {
  return unique ? `${name}_${keyId % 2 === 0 ? 'a' : 'b'}` : name
}

/** What is hashed of a text. @param form `before`: as earlier versions did */
export function indexedText(
  { normalize, prefix }: BlindIndex,
  text: string,
  form: 'now' | 'before' = 'now',
): string {
  const normal = normalizeText(text, normalize, form)
  return prefix === 0 ? normal : Array.from(normal).slice(0, prefix).join('')
}
