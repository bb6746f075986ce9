/** Stores the states of accounts in the store. */
import type { Store } from '@parapet/kit'
import type { AccountStateRepository } from './account-state.ts'

/** Ten years, in milliseconds: a lock must not end because nobody looked at it. */
const TTL_MS = 315_360_000_000

/** Creates the repository. A store that evicts keys may lose a lock: prefer `sql`. */
export function createStoreStates(store: Store): AccountStateRepository {
  return {
    load: (userId) => store.get(keyOf(userId)),
    save: (userId, expected, next) => store.compareAndSet(keyOf(userId), expected, next, TTL_MS),
  }
}

function keyOf(userId: string): string {
  return `sessions:account:${userId}`
}
