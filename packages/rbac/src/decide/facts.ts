/** Facts: values that only the application can look up. */
import { withDeadline, type Clock, type Principal } from '@parapet/kit'
import type { Environment } from '../conditions/context.ts'

/** The decision for which a fact is looked up. */
export interface FactQuestion {
  readonly principal: Principal
  /** The resource of the decision; `undefined` if it has none. */
  readonly resource: unknown
  readonly environment: Environment
}

/** Looks up a fact. If it throws or is too slow, the fact is unknown. */
export type FactFinder = (question: FactQuestion) => unknown

/**
 * Looks up all facts at once. A fact that fails or takes longer than the timeout stays unknown, so a
 * grant that needs it fails and a deny rule that needs it applies.
 */
export async function findFacts(
  names: readonly string[],
  find: (name: string) => unknown,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<ReadonlyMap<string, unknown>> {
  const facts = new Map<string, unknown>()
  await Promise.all(
    names.map(async (name) => {
      try {
        const found = Promise.resolve(find(name))
        facts.set(name, await withDeadline(found, timeoutMs, () => new Error('late'), clock))
      } catch {
        // The fact stays unknown.
      }
    }),
  )
  return facts
}
