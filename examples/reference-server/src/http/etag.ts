/** Entity tags: a client can make a change conditional on a version. @see RFC 9110, section 8.8.3 */
import type { Stored } from '../storage/table.ts'

/** The strong entity tag of a row. */
export function etagOf({ version }: Pick<Stored, 'version'>): string {
  return `"${version}"`
}

/**
 * Reads the versions that `If-Match` allows; `null`: any version. Weak tags and tags that this
 * service does not create match no version.
 *
 * @see RFC 9110, section 13.1.1
 */
export function readIfMatch(header: string | undefined): number[] | null {
  if (header === undefined || header.trim() === '*') return null
  return header.split(',').flatMap((tag) => {
    const version = /^"(\d{1,9})"$/.exec(tag.trim())?.[1]
    return version === undefined ? [] : [Number(version)]
  })
}
