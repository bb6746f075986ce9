/** Accounts in a store: this process's memory, or Redis. */
import type { Store } from '@parapet/kit'
import type { AccountRepository, StoredAccount } from './accounts.ts'
import { hashText } from './digest.ts'

/** Nothing in a store is for ever; every write starts ten years anew. */
const TTL_MS = 315_360_000_000

/**
 * Keeps accounts in a {@link Store}. In memory they end with the process; in Redis they live as long
 * as its persistence promises, and an eviction policy must leave them alone (`noeviction`).
 */
export function createStoreAccounts(store: Store): AccountRepository {
  return {
    async load(userId) {
      const text = await store.get(accountKey(userId))
      return text === null ? null : parse(text)
    },
    async save(userId, expected, sealed, { add, remove = [] } = {}) {
      const key = accountKey(userId)
      const text = await store.get(key)
      if ((text === null ? 0 : parse(text).version) !== expected) return false
      // The owner is written first: of an index without an account nothing follows, the other way
      // round a passkey would be lost.
      if (add !== undefined && !(await claim(add, userId))) return false
      const next = `${expected + 1}:${sealed}`
      const saved = await store.compareAndSet(key, text, next, TTL_MS)
      if (saved) for (const id of remove) await store.delete(credentialKey(id))
      return saved
    },
    findByCredential: (credentialId) => store.get(credentialKey(credentialId)),
    async remove(userId, credentials) {
      for (const id of credentials) await store.delete(credentialKey(id))
      await store.delete(accountKey(userId))
    },
  }

  async function claim(credentialId: string, userId: string): Promise<boolean> {
    const key = credentialKey(credentialId)
    return (await store.setIfAbsent(key, userId, TTL_MS)) || (await store.get(key)) === userId
  }
}

function accountKey(userId: string): string {
  return `mfa:account:${userId}`
}

/** Hashed: a credential id may be longer than a key. */
function credentialKey(credentialId: string): string {
  return `mfa:credential:${hashText(credentialId)}`
}

function parse(text: string): StoredAccount {
  const colon = text.indexOf(':')
  return { version: Number(text.slice(0, colon)), sealed: text.slice(colon + 1) }
}
