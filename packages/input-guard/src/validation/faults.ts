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

const MAX_FAULTS = 50

/** Converts the errors of Ajv. */
export function toFaults(part: RequestPart, errors: readonly ErrorObject[]): InputFault[] {
  return errors.slice(0, MAX_FAULTS).map(({ keyword, instancePath, message, params }) => {
    const { code, missingProperty, additionalProperty } = params as Readonly<
      Record<string, unknown>
    >
    return {
      in: part,
      instancePath:
        typeof missingProperty === 'string'
          ? `${instancePath}/${escapePointer(missingProperty)}`
          : instancePath,
      keyword,
      message: missingProperty === undefined ? (message ?? 'is invalid') : 'is required',
      params: {
        code: typeof code === 'string' ? code : codeOf(keyword),
        ...(typeof additionalProperty === 'string' ? { additionalProperty } : undefined),
      },
    }
  })
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
  return faults.map((each) => `${each.in}${each.instancePath} ${each.message}`).join(', ')
}
