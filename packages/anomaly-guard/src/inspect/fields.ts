/** Which fields of a request are exempt, or hold base64. */
import type { FieldTreatment } from './types.ts'

/** Finds the treatment of a field by its location; `undefined` if no field has one. */
export type FieldLookup = (location: string) => FieldTreatment | undefined

/** @param fields locations such as `body.article.text`; the last name may be `*`. */
export function compileFields(
  fields: Readonly<Record<string, FieldTreatment>>,
): FieldLookup | undefined {
  const entries = Object.entries(fields)
  if (entries.length === 0) return undefined
  const exact = new Map(entries)
  const prefixes = entries
    .filter(([location]) => location.endsWith('.*'))
    .map(([location, treatment]) => [location.slice(0, -1), treatment] as const)
  return (location) =>
    exact.get(location) ?? prefixes.find(([prefix]) => location.startsWith(prefix))?.[1]
}
