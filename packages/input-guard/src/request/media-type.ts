/** The media type and charset of a body. @see RFC 9110, section 8.3 */

/** Why a media type is refused. */
export type MediaTypeFault = 'media_type' | 'charset'

const CHARSET = /;\s*charset\s*=\s*"?([^\s";]*)/gi
const UTF_8 = /^(?:utf-?8|us-ascii)$/i
const MAX_CACHED = 200
const MAX_LENGTH = 256

/**
 * Compiles the check of `Content-Type`.
 *
 * @param allowed media types in lower case; `undefined`: those that the app has a parser for
 */
export function createMediaTypeCheck(
  allowed: readonly string[] | undefined,
): (contentType: string) => MediaTypeFault | undefined {
  const known = allowed && new Set(allowed)
  // Clients send few different values; a client that invents them fills the cache only once.
  const accepted = new Set<string>()
  return (contentType) => {
    if (accepted.has(contentType)) return undefined
    const fault = faultOf(contentType, known)
    const isKept = fault === undefined && accepted.size < MAX_CACHED
    if (isKept && contentType.length < MAX_LENGTH) accepted.add(contentType)
    return fault
  }
}

/** The media type without parameters, in lower case, as Fastify finds its parser. */
export function mediaTypeOf(contentType: string): string {
  // Most requests.
  if (contentType === 'application/json') return contentType
  return contentType.split(';', 1)[0]!.trim().toLowerCase()
}

function faultOf(
  contentType: string,
  known: ReadonlySet<string> | undefined,
): MediaTypeFault | undefined {
  if (contentType.length > 2 * MAX_LENGTH) return 'media_type'
  const type = mediaTypeOf(contentType)
  if (known !== undefined && !known.has(type)) return 'media_type'
  const charsets = [...contentType.matchAll(CHARSET)]
  return charsets.every(([, name]) => UTF_8.test(name!)) ? undefined : 'charset'
}
