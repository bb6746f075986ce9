/** Names of files, as text to show. A stored file always gets a generated name. */
import type { TString } from '@sinclair/typebox'
import {
  checkSettings,
  commonOf,
  fault,
  guardedString,
  refuseType,
  type CommonOptions,
  type Fault,
  type TextCheck,
} from './check.ts'
import { characterFault } from './text.ts'

/** Options of {@link SafeFilename}. */
export interface SafeFilenameOptions extends CommonOptions {
  /** Bytes in UTF-8. @default 255 */
  readonly maxBytes?: number
  /** Lower-case extensions that are allowed, without the dot. @default all */
  readonly extensions?: readonly string[]
}

/** The name of a file without a path, in any script, that every operating system can show and store. */
export function SafeFilename(options: SafeFilenameOptions = {}): TString {
  checkSettings('SafeFilename', options, { maxBytes: 'number', extensions: 'object' })
  const { maxBytes = 255, extensions } = options
  if (extensions?.some((each) => !/^[a-z0-9]{1,16}$/.test(each)) === true) {
    refuseType('SafeFilename', '"extensions" must be lower-case letters and digits without a dot')
  }
  return guardedString(
    { type: 'file-name', maxBytes, extensions },
    { ...commonOf(options), minLength: 1, maxLength: maxBytes },
  )
}

/** Characters that Windows refuses or that begin a stream or a path on some system. */
const FORBIDDEN = /[/\\:*?"<>|]/
/** An encoded byte: the name was prepared for something that decodes it once more. Spaces and brackets are harmless. */
const ENCODED = /%(?!2[089])[0-9a-f]{2}|%u[0-9a-f]{4}|&#/i
const RESERVED = /^(?:con|prn|aux|nul|clock\$|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:$|\.|\s)/i
/** Signs whose NFKC form has dots or a slash that no system reads as such within a name: `…`, `½`. */
const HARMLESS = /(?<=[^\s.])\u2026(?=[^\s.])|[\u00bc-\u00be\u2150-\u215f\u2189]/g
const EDGE = /^[\s.~-]|[\s.]$/

const NOT_A_NAME = fault('file_name', 'must be the name of a file without a path')
const RESERVED_NAME = fault('file_name_reserved', 'must not be a name that a system reserves')
const TOO_LONG = fault('file_name_bytes', 'must be a shorter name of a file')
const EXTENSION = fault('file_extension', 'must have an extension that is allowed here')

/** Checks the name of a file. @returns the name in NFC, or its fault */
export function checkFileName(
  text: string,
  { maxBytes = 255, extensions }: SafeFilenameOptions = {},
): string | Fault {
  // A normal form has about as many bytes as the text has units.
  if (text.length > 2 * maxBytes) return TOO_LONG
  const forbidden = characterFault(text)
  if (forbidden !== undefined) return forbidden
  const name = text.normalize('NFC')
  if (Buffer.byteLength(name) > maxBytes) return TOO_LONG
  // Full-width and other forms of separators become the separators themselves.
  const plain = name.replaceAll(HARMLESS, '_')
  const folded = plain.normalize('NFKC').replaceAll(/[\u2044\u2215\u29f5\u29f8\u29f9\ufe68]/g, '/')
  if (
    FORBIDDEN.test(folded) ||
    ENCODED.test(folded) ||
    EDGE.test(folded) ||
    folded.includes('..')
  ) {
    return NOT_A_NAME
  }
  if (RESERVED.test(folded)) return RESERVED_NAME
  if (extensions !== undefined) {
    const dot = name.lastIndexOf('.')
    if (dot < 1 || !extensions.includes(name.slice(dot + 1).toLowerCase())) return EXTENSION
  }
  return name
}

export function compileFileName(settings: SafeFilenameOptions): TextCheck {
  return (text) => checkFileName(text, settings)
}
