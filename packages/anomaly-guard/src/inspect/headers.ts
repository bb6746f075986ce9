/** Which headers are looked at, and as what. */
import type { SignaturePart } from '../signatures/signature.ts'

/** Headers that no application reads as text, or that the browser writes. */
const SKIPPED = new Set([
  'authorization',
  'proxy-authorization',
  'connection',
  'content-length',
  'date',
  'dnt',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-unmodified-since',
  'sec-ch-ua',
  'sec-ch-ua-full-version-list',
  'sec-ch-ua-mobile',
  'sec-ch-ua-platform',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'sec-fetch-site',
  'sec-fetch-user',
  'sec-gpc',
  'upgrade-insecure-requests',
])
/** The address of a page, as a browser writes it: what was refused there would be refused again here. */
const PAGE = /^https?:\/\/[\w.~:/?#[\]@!$&()*+,;=%-]*$/
const FILE_HEADER = /^x-?(?:original-?)?file-?name$/

/** Headers that are no text of a user, unless a lookup of Log4j is in them: all headers are logged. */
export function isUsual(name: string, value: string): boolean {
  if (value.includes('${')) return false
  return SKIPPED.has(name) || (name === 'referer' && PAGE.test(value))
}

export function partOf(header: string): SignaturePart {
  if (header === 'user-agent') return 'agent'
  return FILE_HEADER.test(header) ? 'filename' : 'header'
}
