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
import { characterFault, transform } from './text.ts'

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
// oxlint-disable-next-line no-misleading-character-class -- the joiners are single characters here
const NAME_CHARACTERS = /^[\p{L}\p{M}\u200c\u200d '’ʼ‘`´.,·・\u2010\u2011–-]*$/u
const STAGE_CHARACTERS =
  // oxlint-disable-next-line no-misleading-character-class -- as above
  /^[\p{L}\p{M}\p{N}\u200c\u200d '’ʼ‘`´.,·・\u2010\u2011–!?$&+/():#*@°=\p{So}-]*$/u
const HAS_LETTER = /\p{L}/u
const HAS_LETTER_OR_DIGIT = /[\p{L}\p{N}!]/u
const SEARCH_CHARACTERS =
  // oxlint-disable-next-line no-misleading-character-class -- as above
  /^[\p{L}\p{M}\p{N}\p{Sc}\u200c\u200d '’‘‚"“”„«»‹›.,:&+#@!?¡¿%/()_…—–、。・，！？：「」『』（）-]*$/u
/** Comments of SQL and shells, which no search needs. */
const COMMENT = /--|\/\*|\/\//
const SLUG = /^[a-z0-9]+(?:-[a-z0-9]+)*$/

const NOT_A_NAME = fault(
  'person_name',
  'must have letters only, with spaces, apostrophes, hyphens and full stops',
)
const NOT_A_SEARCH = fault('search_query', 'must have words and ordinary punctuation only')
const NOT_A_SLUG = fault('slug', 'must have lower-case letters, digits and single hyphens only')

export function compilePersonName({ stage = false }: PersonNameOptions): TextCheck {
  const characters = stage ? STAGE_CHARACTERS : NAME_CHARACTERS
  const required = stage ? HAS_LETTER_OR_DIGIT : HAS_LETTER
  return (text) => {
    const forbidden = characterFault(text)
    if (forbidden !== undefined) return forbidden
    const name = transform(text, {})
    return characters.test(name) && required.test(name) ? name : NOT_A_NAME
  }
}

export function compileSearchQuery(): TextCheck {
  return (text) => {
    const forbidden = characterFault(text)
    if (forbidden !== undefined) return forbidden
    const query = transform(text, {})
    return SEARCH_CHARACTERS.test(query) && !COMMENT.test(query) ? query : NOT_A_SEARCH
  }
}

export function compileSlug(): TextCheck {
  return (text) => (SLUG.test(text) ? text : NOT_A_SLUG)
}
