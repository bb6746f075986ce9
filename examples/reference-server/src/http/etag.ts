/** Entity tags: a change can be refused when someone else's came first. @see RFC 9110, section 8.8.3 */
import type { Stored } from './table.ts'

/** The strong tag of a row. */
export function etagOf({ version }: Pick<Stored, 'version'>): string {
  return `"${version}"`
}

/**
 * The versions that `If-Match` allows; `null`: any. A tag that is not ours, or a weak one, matches
 * nothing. @see RFC 9110, section 13.1.1
 */
export function readIfMatch(header: string | undefined): number[] | null {
  if (header === undefined || header.trim() === '*') return null
  return header.split(',').flatMap((tag) => {
    const version = /^"(\d{1,9})"$/.exec(tag.trim())?.[1]
    return version === undefined ? [] : [Number(version)]
  })
}
