/** The rule of two persons for an action: one asks for it, another one confirms it. */
import { isDeepStrictEqual } from 'node:util'
import type { Action, ActionCall } from '@parapet/incident-response'
import type { Store } from '@parapet/kit'

/** How long the other person has. */
const CONFIRM_MS = 900_000
/** Further attempts if several persons ask at the same moment. */
const ATTEMPTS = 5

/** What the first person has asked for. */
interface Asked {
  readonly by: string
  readonly with: ActionCall['with']
}

/** See {@link byTwoPersons}. */
export interface TwoPersonsOptions {
  /** The name of the action; instances share what was asked through the store. */
  readonly name: string
  readonly store: Pick<Store, 'get' | 'compareAndSet' | 'delete'>
}

/**
 * Wraps an action: the first call only asks, and a call by another person with the same parameters within 15
 * minutes carries it out. A call by nobody, or by a rule, is passed on: the action itself must refuse it.
 */
export function byTwoPersons(action: Action, { name, store }: TwoPersonsOptions): Action {
  const keyOf = ({ incident }: ActionCall) => `two-persons:${name}:${incident.id}`
  return {
    ...action,
    async run(call) {
      if (!isPerson(call.by)) return action.run(call)
      // Kept after the action: if this process dies now, the repeated call must not ask again.
      if (await isConfirmed(store, keyOf(call), { by: call.by, with: call.with })) {
        return action.run(call)
      }
      return {
        summary: 'nothing yet: another person must do the same within 15 minutes',
        undoWith: null,
      }
    },
    async undo(call, undoWith) {
      await store.delete(keyOf(call))
      await action.undo?.(call, undoWith)
    },
    async dryRun(call) {
      await action.dryRun?.(call)
      return 'needs two persons'
    },
  }
}

/** Whether an action was started by a person, not by a rule or by nobody. */
export function isPerson(by: string | null): by is string {
  return by !== null && !by.includes(':')
}

async function isConfirmed(
  store: TwoPersonsOptions['store'],
  key: string,
  mine: Asked,
): Promise<boolean> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = await store.get(key)
    const first = found === null ? undefined : (JSON.parse(found) as Asked)
    if (first !== undefined && first.by !== mine.by && isDeepStrictEqual(first.with, mine.with)) {
      return true
    }
    if (await store.compareAndSet(key, found, JSON.stringify(mine), CONFIRM_MS)) return false
  }
  return false
}
