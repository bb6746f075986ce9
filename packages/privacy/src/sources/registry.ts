/** The registry of sources: checks each description, and keeps them in order. */
import { PARAPET_PRIVACY_INVALID_SOURCE } from '../errors.ts'
import {
  legalBases,
  type FieldStrategy,
  type PrivacySource,
  type RegisteredSource,
} from './source.ts'

const MAX_SOURCES = 1000
const STRATEGIES = new Set<unknown>([
  'delete',
  'anonymise-email',
  'anonymise-text',
  'pseudonymise',
  'shred',
] satisfies FieldStrategy[])
const MEMBERS = new Set([
  'name',
  'purpose',
  'legalBasis',
  'categories',
  'subjectCategories',
  'recipients',
  'transfers',
  'retentionDays',
  'storedIn',
  'encrypted',
  'fields',
  'collect',
  'cursorOf',
  'erase',
  'verifyErased',
  'remove',
  'rectify',
  'subjects',
  'sweep',
  'schema',
] satisfies (keyof PrivacySource)[])

/** Keeps the sources in the order in which they were registered, which is the order of an erasure. */
export class SourceRegistry {
  readonly #sources = new Map<string, RegisteredSource>()
  #last: RegisteredSource | undefined
  #isClosed = false

  /** Registers the source that is always the last one. */
  registerLast(source: PrivacySource): void {
    this.register(source)
    this.#last = this.#sources.get(source.name)
  }

  /** @throws PARAPET_PRIVACY_INVALID_SOURCE */
  register(source: PrivacySource): void {
    const problem = this.#isClosed
      ? 'must be registered before the server is ready'
      : faultOf(source)
    const name = String((source as Partial<PrivacySource> | undefined)?.name)
    if (problem !== undefined) throw new PARAPET_PRIVACY_INVALID_SOURCE(name, problem)
    if (this.#sources.has(name)) {
      throw new PARAPET_PRIVACY_INVALID_SOURCE(name, 'is registered already')
    }
    if (this.#sources.size >= MAX_SOURCES) {
      throw new PARAPET_PRIVACY_INVALID_SOURCE(name, `is one more than ${MAX_SOURCES}`)
    }
    const { subjectCategories = ['customers'], recipients = [], encrypted = false } = source
    this.#sources.set(name, Object.freeze({ ...source, subjectCategories, recipients, encrypted }))
  }

  /** Refuses further sources: a request in progress must not meet a new one. */
  close(): void {
    this.#isClosed = true
  }

  get all(): readonly RegisteredSource[] {
    const others = [...this.#sources.values()].filter((source) => source !== this.#last)
    return this.#last === undefined ? others : [...others, this.#last]
  }

  find(name: string): RegisteredSource | undefined {
    return this.#sources.get(name)
  }
}

/** Continues a sentence that begins with "it". */
function faultOf(source: unknown): string | undefined {
  if (typeof source !== 'object' || source === null) return 'must be an object'
  const given = source as Readonly<Record<string, unknown>>
  const unknown = Object.keys(given).find((key) => !MEMBERS.has(key as keyof PrivacySource))
  if (unknown !== undefined) return `has an unknown member "${unknown}"`
  const { name, purpose, legalBasis, categories, retentionDays, storedIn, fields } = given
  if (typeof name !== 'string' || !/^[a-z][a-z0-9_-]{0,62}$/.test(name)) {
    return 'needs a "name" of lower-case letters, digits, "_" and "-", at most 63 characters'
  }
  if (!isText(purpose)) return 'needs a "purpose" of 1 to 1000 characters'
  if (!legalBases.includes(legalBasis as never)) {
    return `needs a "legalBasis", one of ${legalBases.join(', ')}`
  }
  if (!Array.isArray(categories) || !categories.every(isText)) {
    return 'needs "categories", an array of texts'
  }
  const isDays = Number.isSafeInteger(retentionDays) && (retentionDays as number) > 0
  if (retentionDays !== null && !isDays) return 'needs "retentionDays", a whole number or null'
  if (!isText(storedIn)) return 'needs "storedIn", the place of the data in words'
  return faultOfFields(fields)
}

function faultOfFields(fields: unknown): string | undefined {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    return 'needs "fields", an object with a strategy for each field'
  }
  for (const [field, strategy] of Object.entries(fields as Record<string, unknown>)) {
    const retain = (strategy as { retain?: unknown } | null)?.retain
    if (!STRATEGIES.has(strategy) && !isText(retain)) {
      return `has an unknown strategy for the field "${field}"; use ${[...STRATEGIES].join(', ')} or { retain: "the legal reason" }`
    }
  }
  return undefined
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '' && value.length <= 1000
}
