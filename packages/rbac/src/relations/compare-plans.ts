/** Compares two plans: is there a chain of tuples that only one of them follows? */
import type { RelationPlan, RelationStep } from './relation-plan.ts'

const MAX_STATES = 10_000

/** Where both plans can be after the same tuples. */
interface Position {
  readonly first: ReadonlySet<string>
  readonly second: ReadonlySet<string>
  readonly path: readonly string[]
}

/**
 * Returns the kinds of tuples, from the object to the principal, of a shortest chain that relates the
 * principal by `first` and not by `second`, as `['doc#parent@folder', 'folder#viewer@user']`. A plan answers
 * yes exactly if it follows some chain, so without such a chain `second` answers yes wherever `first` does.
 */
export function findChain(
  first: RelationPlan,
  second: RelationPlan,
): readonly string[] | undefined {
  const queue: Position[] = [{ first: startOf(first), second: startOf(second), path: [] }]
  const seen = new Set(queue.map(keyOf))
  for (const { path, ...at } of queue) {
    for (const [symbol, ends] of follow(first.ends, at.first)) {
      if (ends.size > 0 && !follow(second.ends, at.second).has(symbol)) return [...path, symbol]
    }
    const others = follow(second.steps, at.second)
    for (const [symbol, next] of follow(first.steps, at.first)) {
      const position = {
        first: next,
        second: others.get(symbol) ?? new Set<string>(),
        path: [...path, symbol],
      }
      const key = keyOf(position)
      if (seen.has(key) || seen.size >= MAX_STATES) continue
      seen.add(key)
      queue.push(position)
    }
  }
  return undefined
}

function startOf({ type, relation }: RelationPlan): ReadonlySet<string> {
  return new Set([`${type}#${relation}`])
}

function keyOf({ first, second }: Position): string {
  return JSON.stringify([[...first].toSorted(), [...second].toSorted()])
}

/** By kind of tuple: where it leads. */
function follow(
  steps: readonly RelationStep[],
  from: ReadonlySet<string>,
): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>()
  for (const step of steps) {
    if (!from.has(`${step.type}#${step.target}`)) continue
    const symbol = kindOf(step)
    const next = `${step.subjectType}#${step.next}`
    const known = found.get(symbol)
    if (known === undefined) found.set(symbol, new Set([next]))
    else known.add(next)
  }
  return found
}

/** As `doc#viewer@group#member`. */
function kindOf({ type, relation, subjectType, subjectRelation }: RelationStep): string {
  const userset = { '': '', '*': ':*' }[subjectRelation] ?? `#${subjectRelation}`
  return `${type}#${relation}@${subjectType}${userset}`
}
