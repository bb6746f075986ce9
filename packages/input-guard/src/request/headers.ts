/** Limits of header lines, and headers that ask for another method. */

/** Why the headers are refused. */
export type HeaderFault = 'header_count' | 'header_bytes' | 'host_count'

/** Checks the lines of a request. @param raw names and values in turn, as Node.js has them */
export function findHeaderFault(
  raw: readonly string[],
  maxLines: number,
  maxBytes: number,
): HeaderFault | undefined {
  if (raw.length > 2 * maxLines) return 'header_count'
  let hosts = 0
  for (let index = 1; index < raw.length; index += 2) {
    const name = raw[index - 1]!
    // Node.js decodes headers as Latin-1, so that a character is a byte.
    if (name.length + raw[index]!.length > maxBytes) return 'header_bytes'
    if (name.length === 4 && name.toLowerCase() === 'host' && ++hosts > 1) return 'host_count'
  }
  return undefined
}

/** Names that frameworks and gateways read, with hyphens. */
const OVERRIDES = [
  'x-http-method-override',
  'x-method-override',
  'x-http-method',
  'x-original-method',
]
/** Some servers and CGI environments treat an underscore as a hyphen. */
const OVERRIDE_NAMES = OVERRIDES.flatMap((name) => [name, name.replaceAll('-', '_')])

/** Whether a header asks for another method. */
export function hasMethodOverride(headers: Readonly<Record<string, unknown>>): boolean {
  for (const name of OVERRIDE_NAMES) if (headers[name] !== undefined) return true
  return false
}
