/** Faults of a request, in the form that Fastify and problem details use. */
import type { ErrorObject } from 'ajv'

/** A part of a request, as Fastify names it. */
export type RequestPart = 'params' | 'body' | 'querystring' | 'headers'

/** One fault. It never contains the value. */
export interface InputFault {
  readonly in: RequestPart
  /** JSON Pointer. @see RFC 6901 */
  readonly instancePath: string
  readonly keyword: string
  readonly message: string
  readonly params: { readonly code: string; readonly additionalProperty?: string }
}

/** Enough for every field of a form; the log and the response stay small whatever the client sends. */
const MAX_FAULTS = 20
const MAX_POINTER = 128
const MAX_NAME = 64
const MAX_MESSAGE = 2000

/** Converts the errors of Ajv. */
export function toFaults(part: RequestPart, errors: readonly ErrorObject[]): InputFault[] {
  return errors.slice(0, MAX_FAULTS).map(({ keyword, instancePath, message, params }) => {
    const { code, missingProperty, additionalProperty } = params as Readonly<
      Record<string, unknown>
    >
    return {
      in: part,
      instancePath: cut(
        typeof missingProperty === 'string'
          ? `${instancePath}/${escapePointer(missingProperty)}`
          : instancePath,
        MAX_POINTER,
      ),
      keyword,
      message: missingProperty === undefined ? (message ?? 'is invalid') : 'is required',
      params: {
        code: typeof code === 'string' ? code : codeOf(keyword),
        ...(typeof additionalProperty === 'string'
          ? { additionalProperty: cut(additionalProperty, MAX_NAME) }
          : undefined),
      },
    }
  })
}

/** Ends a text that a client has made long by an ellipsis, and never within a surrogate pair. */
function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')}…`
}

/** The first faults of a request, as many as one message has room for. */
export function firstFaults(faults: readonly InputFault[]): readonly InputFault[] {
  let room = MAX_MESSAGE
  const cut = faults.findIndex((each) => (room -= sentenceOf(each).length + 2) < 0)
  return faults.slice(0, Math.min(MAX_FAULTS, cut === -1 ? MAX_FAULTS : Math.max(cut, 1)))
}

/** `maxLength` → `max_length` */
function codeOf(keyword: string): string {
  return keyword.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}

/** The sentence for people: each fault with its place. */
export function describeFaults(faults: readonly InputFault[]): string {
  return faults.map(sentenceOf).join(', ')
}

function sentenceOf({ in: part, instancePath, message }: InputFault): string {
  return `${part}${instancePath} ${message}`
}
