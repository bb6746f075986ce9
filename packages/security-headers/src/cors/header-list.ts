/** Comma-separated lists of names in headers. */

/** The names in a list, in lower case. */
export function listNames(list: string | undefined): string[] {
  return (list ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '')
}
