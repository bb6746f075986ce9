/** Finds out what a file is by its content. */
import { isUtf8 } from 'node:buffer'
import { PARAPET_INPUT_GUARD_MISSING_LIBRARY } from '../errors.ts'

/** Bytes at the beginning of a file that decide its type. */
export const SAMPLE_BYTES = 4100

/** Types without a signature. Their content must be text, and no page. */
const TEXT_TYPES = new Map([
  ['text/plain', 'txt'],
  ['text/csv', 'csv'],
  ['text/markdown', 'md'],
  ['application/json', 'json'],
])
const PAGE = /<(?:!doctype|html|head|body|script|svg|iframe|\?xml)/i
/** Names that clients use for one type. */
const SYNONYMS: Readonly<Record<string, string>> = {
  'application/x-zip-compressed': 'application/zip',
  'application/x-gzip': 'application/gzip',
  'audio/mp3': 'audio/mpeg',
  'image/jpg': 'image/jpeg',
  'image/pjpeg': 'image/jpeg',
  'image/x-png': 'image/png',
}

/** A type and the extension of its files. */
export interface FoundType {
  readonly type: string
  readonly extension: string
}

/** The usual name of a media type, in lower case and without parameters. */
export function canonicalType(text: string): string {
  const type = text.split(';', 1)[0]!.trim().toLowerCase()
  return Object.hasOwn(SYNONYMS, type) ? SYNONYMS[type]! : type
}

/**
 * The type of a file.
 *
 * @param sample its first {@link SAMPLE_BYTES}
 * @param declared what the client says, for types that no byte tells apart
 */
export async function findType(sample: Buffer, declared: string): Promise<FoundType | undefined> {
  const library = await loadFileType()
  const found = await library.fileTypeFromBuffer(sample)
  if (found !== undefined) return { type: canonicalType(found.mime), extension: found.ext }
  const extension = TEXT_TYPES.get(declared)
  if (extension === undefined || !isPlainText(sample)) return undefined
  return { type: declared, extension }
}

function isPlainText(sample: Buffer): boolean {
  if (sample.includes(0)) return false
  // The sample may end within a character.
  const whole = [0, 1, 2, 3].some((cut) => isUtf8(sample.subarray(0, sample.length - cut)))
  return whole && !PAGE.test(sample.toString('latin1'))
}

async function loadFileType(): Promise<{
  fileTypeFromBuffer(sample: Uint8Array): Promise<{ mime: string; ext: string } | undefined>
}> {
  try {
    return await import('file-type')
  } catch (cause) {
    throw Object.assign(new PARAPET_INPUT_GUARD_MISSING_LIBRARY('An upload', 'file-type'), {
      cause,
    })
  }
}
