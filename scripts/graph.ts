/** Directed graphs of files and folders: circles and longest chains. */

/** Node → the nodes that it imports. */
export type Graph = ReadonlyMap<string, ReadonlySet<string>>

/**
 * Lists the circles of a graph: for every edge that lies on a circle, one shortest circle through it.
 * An edge from a node to itself is no circle.
 *
 * @returns each circle as its nodes, starting with the first in alphabetical order, which is repeated
 * at the end: `['a', 'b', 'a']`.
 */
export function findCircles(graph: Graph): string[][] {
  const circles = new Map<string, string[]>()
  for (const [from, targets] of graph) {
    for (const to of targets) {
      const back = to === from ? undefined : shortestPath(graph, to, from)
      if (back === undefined) continue
      const first = back.indexOf(back.toSorted()[0]!)
      const circle = [...back.slice(first), ...back.slice(0, first + 1)]
      circles.set(circle.join('\n'), circle)
    }
  }
  return [...circles.values()].toSorted((a, b) => (a.join('\n') < b.join('\n') ? -1 : 1))
}

/**
 * Finds the longest chain of a graph. The nodes of a circle count as one link after the other, since
 * a reader has to know all of them.
 *
 * @returns the nodes from the top to the bottom; empty for an empty graph.
 */
export function longestChain(graph: Graph): string[] {
  const groups = groupCircles(graph)
  const chains = new Map<readonly string[], string[]>()
  const chainFrom = (group: readonly string[]): string[] => {
    const known = chains.get(group)
    if (known !== undefined) return known
    let longest: string[] = []
    for (const node of group) {
      for (const target of graph.get(node) ?? []) {
        const next = groups.get(target)
        if (next === undefined || next === group) continue
        const chain = chainFrom(next)
        if (chain.length > longest.length) longest = chain
      }
    }
    const chain = [...group, ...longest]
    chains.set(group, chain)
    return chain
  }
  let longest: string[] = []
  for (const group of new Set(groups.values())) {
    const chain = chainFrom(group)
    if (chain.length > longest.length) longest = chain
  }
  return longest
}

/** Groups the nodes that reach each other; a node on no circle is a group of its own. */
function groupCircles(graph: Graph): ReadonlyMap<string, readonly string[]> {
  const reach = new Map([...graph.keys()].map((node) => [node, reachableFrom(graph, node)]))
  const groups = new Map<string, string[]>()
  for (const node of graph.keys()) {
    if (groups.has(node)) continue
    const group = [...graph.keys()].filter(
      (other) =>
        other === node || (reach.get(node)!.has(other) && reach.get(other)?.has(node) === true),
    )
    for (const member of group) groups.set(member, group)
  }
  return groups
}

function reachableFrom(graph: Graph, start: string): ReadonlySet<string> {
  const found = new Set<string>()
  const open = [start]
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    for (const target of graph.get(node) ?? []) {
      if (found.has(target)) continue
      found.add(target)
      open.push(target)
    }
  }
  return found
}

/** From `start` to `end`, both included; `undefined` where there is no way. */
function shortestPath(graph: Graph, start: string, end: string): string[] | undefined {
  const before = new Map<string, string | null>([[start, null]])
  for (const node of before.keys()) {
    if (node === end) {
      const path: string[] = []
      for (let step: string | null = end; step !== null; step = before.get(step) ?? null) {
        path.unshift(step)
      }
      return path
    }
    for (const target of graph.get(node) ?? []) if (!before.has(target)) before.set(target, node)
  }
  return undefined
}
