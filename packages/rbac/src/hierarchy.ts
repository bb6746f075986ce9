/** The order in which roles can be merged, so that parents come first however deep they stand. */

/**
 * Sorts roles so that each comes after those it inherits.
 *
 * @param parents by role, the roles it inherits.
 * @returns the order, or the roles of a cycle in its order when there is one.
 */
export function sortRoles(
  parents: readonly (readonly number[])[],
): { readonly order: readonly number[] } | { readonly cycle: readonly number[] } {
  const waiting = parents.map((list) => list.length)
  const children: number[][] = parents.map(() => [])
  for (const [role, list] of parents.entries())
    for (const parent of list) children[parent]!.push(role)
  const order = waiting.flatMap((count, role) => (count === 0 ? [role] : []))
  for (let index = 0; index < order.length; index++) {
    for (const child of children[order[index]!]!) if (--waiting[child]! === 0) order.push(child)
  }
  return order.length === parents.length ? { order } : { cycle: findCycle(parents, waiting) }
}

/** Every role that still waits has a parent that waits; following them ends up in a circle. */
function findCycle(
  parents: readonly (readonly number[])[],
  waiting: readonly number[],
): readonly number[] {
  const path: number[] = []
  let role = waiting.findIndex((count) => count > 0)
  while (!path.includes(role)) {
    path.push(role)
    role = parents[role]!.find((parent) => waiting[parent]! > 0)!
  }
  return [...path.slice(path.indexOf(role)), role]
}
