/** Limits of header lines, and headers that ask for another method. */

/** Why the headers are refused. */
export type HeaderFault = 'header_count' | 'header_bytes'

/** Checks the lines of a request. @param raw names and values in turn, as Node.js has them */
export function findHeaderFault(
  raw: readonly string[],
  maxLines: number,
  maxBytes: number,
): HeaderFault | undefined {
  if (raw.length > 2 * maxLines) return 'header_count'
  for (let index = 1; index < raw.length; index += 2) {
    // Node.js decodes headers as Latin-1, so that a character is a byte.
    if (raw[index]!.length > maxBytes) return 'header_bytes'
  }
  return undefined
}

/** Whether a header asks for another method. */
export function hasMethodOverride(headers: Readonly<Record<string, unknown>>): boolean {
  return (
    headers['x-http-method-override'] !== undefined ||
    headers['x-method-override'] !== undefined ||
    headers['x-http-method'] !== undefined
  )
}
