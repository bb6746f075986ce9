/** Which facts a condition speaks of, and how they are found out in time. */
import type { Clock } from '@parapet/kit'
import type { Node } from './condition-nodes.ts'

/** The names of the facts in a condition. */
export function factsOf(node: Node): string[] {
  switch (node.op) {
    case 'and':
    case 'or':
      return node.of.flatMap(factsOf)
    case 'not':
      return factsOf(node.of)
    case 'value':
      return []
    case 'exists':
    case 'test':
      return nameOf(node.left)
    case 'in':
    case 'compare':
      break
  }
  return [...nameOf(node.left), ...nameOf(node.right)]
}

function nameOf(term: { readonly kind: string; readonly root?: string; readonly name?: string }) {
  return term.root === 'fact' ? [term.name!] : []
}

/**
 * Asks for facts, all at once. One that fails, or takes longer than the deadline, stays unknown, so
 * no condition that needs it holds.
 */
export async function findFacts(
  names: readonly string[],
  ask: (name: string) => unknown,
  deadline: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<ReadonlyMap<string, unknown>> {
  const facts = new Map<string, unknown>()
  const asked = names.map(async (name) => {
    try {
      facts.set(name, await ask(name))
    } catch {
      // Unknown, as if it had not answered; the condition fails closed.
    }
  })
  await new Promise<void>((resolve) => {
    const cancel = deadline.clock.schedule(deadline.timeoutMs, resolve)
    void Promise.all(asked).then(() => {
      cancel()
      return resolve()
    })
  })
  // A copy: an answer that comes too late must not change a decision under way.
  return new Map(facts)
}
