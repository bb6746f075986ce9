/** A page of what is in force: there may be a million blocks in an attack. */
import type { Containment } from '@parapet/anomaly-guard'
import { Type, type Static } from '@sinclair/typebox'
import { closedObject } from '../http/schemas.ts'

/** The query of the lists of containments. */
export const ContainmentQuery = closedObject({
  contains: Type.String({
    maxLength: 64,
    default: '',
    description: 'A part of the target, the kind or the reason, in any case',
  }),
  limit: Type.Integer({ minimum: 1, maximum: 500, default: 200 }),
  offset: Type.Integer({ minimum: 0, maximum: 10_000_000, default: 0 }),
})

/** The number of containments that a query finds on all its pages. */
export const total = Type.Integer({ description: 'How many are found on all pages' })

/** Selects a page, the newest first. */
export function pageOfContainments(
  inForce: readonly Containment[],
  { contains, limit, offset }: Static<typeof ContainmentQuery>,
): { readonly items: readonly Containment[]; readonly total: number } {
  const words = contains.toLowerCase().trim()
  const found =
    words === ''
      ? inForce
      : inForce.filter(({ target, kind, reason }) =>
          `${target.value} ${kind} ${reason}`.toLowerCase().includes(words),
        )
  const end = Math.max(0, found.length - offset)
  const items = found.slice(Math.max(0, end - limit), end).toReversed()
  return { items, total: found.length }
}
