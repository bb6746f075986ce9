/** Describes values in error messages. */

const MAX_SHOWN = 40

/** A short description of a value: short strings and numbers are shown, everything else is named. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') {
    if (value.length > MAX_SHOWN) return `a string of ${value.length} characters`
    return JSON.stringify(value)
  }
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return `an array of ${value.length}`
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
