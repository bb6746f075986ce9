/** Stores accounts in a kit store: in memory or in Redis. */
import type { Store } from '@parapet/kit'
import { hashText } from '../tokens/hash-text.ts'
import type { AccountRepository, StoredAccount } from './account-repository.ts'

/** A store needs a TTL. Every write renews these ten years. */
const TTL_MS = 315_360_000_000

/**
 * Stores accounts in a {@link Store}. In memory they are lost on restart. In Redis they are as
 * durable as its persistence, and Redis must not evict them: set `maxmemory-policy noeviction`.
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
      // Write the index first. A crash in between then leaves an index entry without effect;
      // the other order would leave a passkey that cannot be found.
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

/** Hashed, because a credential id may be longer than a key. */
function credentialKey(credentialId: string): string {
  return `mfa:credential:${hashText(credentialId)}`
}

function parse(text: string): StoredAccount {
  const colon = text.indexOf(':')
  return { version: Number(text.slice(0, colon)), sealed: text.slice(colon + 1) }
}
