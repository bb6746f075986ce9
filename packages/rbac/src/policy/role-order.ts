/** Sorts roles so that every role comes after the roles it inherits. */

/**
 * Sorts roles by inheritance.
 *
 * @param parents the roles that each role inherits.
 * @returns the order, or the roles of one cycle.
 */
export function sortRoles(
  parents: readonly (readonly number[])[],
): { readonly order: readonly number[] } | { readonly cycle: readonly number[] } {
  const unsortedParents = parents.map((list) => list.length)
  const children: number[][] = parents.map(() => [])
  for (const [role, list] of parents.entries())
    for (const parent of list) children[parent]!.push(role)
  const order = unsortedParents.flatMap((count, role) => (count === 0 ? [role] : []))
  for (let index = 0; index < order.length; index++) {
    for (const child of children[order[index]!]!)
      if (--unsortedParents[child]! === 0) order.push(child)
  }
  return order.length === parents.length
    ? { order }
    : { cycle: findCycle(parents, unsortedParents) }
}

/** Every unsorted role has an unsorted parent, so following the parents ends in a cycle. */
function findCycle(
  parents: readonly (readonly number[])[],
  unsortedParents: readonly number[],
): readonly number[] {
  const path: number[] = []
  let role = unsortedParents.findIndex((count) => count > 0)
  while (!path.includes(role)) {
    path.push(role)
    role = parents[role]!.find((parent) => unsortedParents[parent]! > 0)!
  }
  return [...path.slice(path.indexOf(role)), role]
}
