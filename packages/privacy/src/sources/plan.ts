/** Makes the plan of an erasure: what each source does to each field, and the values that replace it. */
import type { Pseudonyms } from '../identity/pseudonyms.ts'
import type { ErasurePlan, FieldStrategy, PlannedField, RegisteredSource } from './source.ts'

/** The half of a hash, in hexadecimal: lower case, as addresses are compared. */
const SHORT = 32

/**
 * Computes the plan of one source. It depends on nothing but its arguments, so every attempt, and the
 * erasure after a restore, writes the same values.
 *
 * @param request the id of the request: what is anonymised in two requests is not linked.
 */
export function planErasure(
  source: Pick<RegisteredSource, 'name' | 'fields'>,
  { request, subject }: { readonly request: string; readonly subject: string },
  pseudonyms: Pseudonyms,
): ErasurePlan {
  const planField = (field: string, strategy: FieldStrategy): PlannedField => {
    if (typeof strategy === 'object') return { strategy: 'retain', basis: strategy.retain }
    switch (strategy) {
      case 'anonymise-email': {
        const text = pseudonyms.replacementOf('anonymise', request, source.name, field)
        const local = Buffer.from(text, 'base64url').toString('hex').slice(0, SHORT)
        return { strategy: 'anonymise', value: `erased-${local}@erased.invalid` }
      }
      case 'anonymise-text':
        return { strategy: 'anonymise', value: 'erased' }
      case 'pseudonymise':
        return {
          strategy: 'pseudonymise',
          value: pseudonyms.replacementOf('pseudonymise', source.name, field, subject),
        }
      case 'delete':
      case 'shred':
        return { strategy }
      default:
        return strategy satisfies never
    }
  }
  const fields = Object.entries(source.fields).map(
    ([field, strategy]) => [field, Object.freeze(planField(field, strategy))] as const,
  )
  return Object.freeze({ key: request, fields: Object.freeze(Object.fromEntries(fields)) })
}

/** The fields that are kept, with the reason. */
export function retainedFields({
  fields,
}: Pick<RegisteredSource, 'fields'>): { field: string; basis: string }[] {
  return Object.entries(fields).flatMap(([field, strategy]) =>
    typeof strategy === 'object' ? [{ field, basis: strategy.retain }] : [],
  )
}
