/** Names of people, terms of a search, and slugs. */
import type { TString } from '@sinclair/typebox'
import {
  checkSettings,
  commonOf,
  fault,
  guardedString,
  type CommonOptions,
  type TextCheck,
} from './check.ts'
import { cleanText } from './text.ts'

/** Options of the types in this file. */
export interface NameOptions extends CommonOptions {
  readonly maxLength?: number
  /** @default 1 */
  readonly minLength?: number
}

/** Options of {@link PersonName}. */
export interface PersonNameOptions extends NameOptions {
  /** Allows the digits and signs of stage names: `AC/DC`, `P!nk`, `2Pac`. @default false */
  readonly stage?: boolean
}

/** The name of a person: letters and marks of any script, spaces, apostrophes, hyphens and full stops. */
export function PersonName(options: PersonNameOptions = {}): TString {
  checkSettings('PersonName', options, {
    maxLength: 'number',
    minLength: 'number',
    stage: 'boolean',
  })
  const { maxLength = 100, minLength = 1, stage } = options
  return guardedString(
    { type: 'person-name', stage },
    { ...commonOf(options), minLength, maxLength },
  )
}

/** What a person types into a search box. It is a check of form; queries must still be parameterised. */
export function SearchQuery(options: NameOptions = {}): TString {
  checkSettings('SearchQuery', options, { maxLength: 'number', minLength: 'number' })
  const { maxLength = 100, minLength = 0 } = options
  return guardedString({ type: 'search-query' }, { ...commonOf(options), minLength, maxLength })
}

/** A part of a URL: lower-case ASCII letters, digits and single hyphens. */
export function Slug(options: NameOptions = {}): TString {
  checkSettings('Slug', options, { maxLength: 'number', minLength: 'number' })
  const { maxLength = 80, minLength = 1 } = options
  return guardedString({ type: 'slug' }, { ...commonOf(options), minLength, maxLength })
}

// U+2019 and U+02BC are apostrophes in many languages; U+30FB and U+00B7 separate names.
/** Has no forbidden characters and is in NFC, as most names. */
const LATIN_NAME = /^[ '.-]*[A-Za-zÀ-ÖØ-öø-ʸ][A-Za-zÀ-ÖØ-öø-ʸ '.-]*$/
const BESIDE_LETTERS = String.raw`\p{M}\u200c\u200d '’ʼ‘\x60´.,·・\u2010\u2011–\-`
const PERSON_NAME = namesWith(String.raw`\p{L}`, BESIDE_LETTERS)
const STAGE_NAME = namesWith(
  String.raw`\p{L}\p{N}!`,
  String.raw`${BESIDE_LETTERS}?$&+/():#*@°=\p{So}`,
)
const SEARCH_CHARACTERS =
  // oxlint-disable-next-line no-misleading-character-class -- as above
  /^[\p{L}\p{M}\p{N}\p{Sc}\u200c\u200d '’‘‚"“”„«»‹›.,:&+#@!?¡¿%/()_…—–、。・，！？：「」『』（）-]*$/u
/** Comments of SQL and shells, which no search needs. */
const COMMENT = /--|\/\*|\/\//
const SLUG = /^[a-z0-9]+(?:-[a-z0-9]+)*$/

/** The default transforms. */
const NFC = {}

const NOT_A_NAME = fault(
  'person_name',
  'must have letters only, with spaces, apostrophes, hyphens and full stops',
)
const NOT_A_SEARCH = fault('search_query', 'must have words and ordinary punctuation only')
const NOT_A_SLUG = fault('slug', 'must have lower-case letters, digits and single hyphens only')

/** Names of some characters, of which at least one must be there, and of others. */
function namesWith(required: string, others: string): RegExp {
  return new RegExp(`^[${others}]*[${required}][${required}${others}]*$`, 'u')
}

export function compilePersonName({ stage = false }: PersonNameOptions): TextCheck {
  const expression = stage ? STAGE_NAME : PERSON_NAME
  return (text) => {
    if (LATIN_NAME.test(text)) return text.trim()
    const name = cleanText(text, NFC)
    if (typeof name !== 'string') return name
    return expression.test(name) ? name : NOT_A_NAME
  }
}

export function compileSearchQuery(): TextCheck {
  return (text) => {
    const query = cleanText(text, NFC)
    if (typeof query !== 'string') return query
    return SEARCH_CHARACTERS.test(query) && !COMMENT.test(query) ? query : NOT_A_SEARCH
  }
}

export function compileSlug(): TextCheck {
  return (text) => (SLUG.test(text) ? text : NOT_A_SLUG)
}
