/** The details of a security event: flat and frozen. */

/**
 * Copies the members that are texts, numbers, booleans, null or lists of these. A listener that stores
 * events could not write the rest.
 *
 * @param drop receives the name of each member that is left out.
 */
export function flatten(details: object, drop: (member: string) => void): object {
  const flat: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(details) as [string, unknown][]) {
    if (value === undefined) continue
    if (isScalar(value)) flat[key] = value
    else if (Array.isArray(value) && value.every(isScalar)) flat[key] = Object.freeze(value.slice())
    else drop(key)
  }
  return Object.freeze(flat)
}

function isScalar(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  return value === null || typeof value === 'string' || typeof value === 'boolean'
}
