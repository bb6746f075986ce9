/** Headers of a download. @see RFC 6266, section 4 */
import { checkFileName } from '../types/file-name.ts'

/** Types that browsers show without running anything. */
const INLINE = new Set([
  'image/avif',
  'image/gif',
  'image/jpeg',
  'image/png',
  'image/webp',
  'audio/mpeg',
  'audio/ogg',
  'video/mp4',
  'video/webm',
])
const NOT_IN_QUOTES = /[^\x20-\x7e]|["\\%]/g
const NOT_EXTENDED = /[!'()*]/g

/** Headers for a file that a user uploaded. A type, because Fastify takes no interface as headers. */
export type DownloadHeaders = Readonly<
  Record<
    'content-disposition' | 'content-type' | 'content-security-policy' | 'x-content-type-options',
    string
  >
>

/**
 * The headers that send a stored file: never as a page of this site. SVG, HTML, XML and PDF are attachments,
 * even if `inline` is asked for.
 *
 * @param name the name to show; one that is not safe becomes `download`
 * @param type the media type that was found in the content
 */
export function downloadHeaders(
  name: string,
  type: string,
  { inline = false }: { readonly inline?: boolean } = {},
): DownloadHeaders {
  const checked = checkFileName(name)
  const shown = typeof checked === 'string' ? checked : 'download'
  const plain = shown.replaceAll(NOT_IN_QUOTES, '_')
  const extended = encodeURIComponent(shown).replaceAll(
    NOT_EXTENDED,
    (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  const isInline = inline && INLINE.has(type)
  return {
    'content-disposition': `${isInline ? 'inline' : 'attachment'}; filename="${plain}"; filename*=UTF-8''${extended}`,
    'content-type':
      isInline || /^[a-z]+\/[a-z0-9.+-]+$/.test(type) ? type : 'application/octet-stream',
    'content-security-policy': "sandbox; default-src 'none'",
    'x-content-type-options': 'nosniff',
  }
}
