/** Canonical JSON, so that a record that was received as JSON has the bytes that the log hashed. @see RFC 8785 */

/** Writes a JSON value: members in the order of their UTF-16 code units, no white space. */
export function canonicalize(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalize).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalize(member)}`)
  return `{${members.join(',')}}`
}
