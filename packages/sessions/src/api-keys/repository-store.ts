/** Stores API keys in the shared store. Use a store that keeps its data through a restart. */
import type { Store } from '@parapet/kit'
import type { ApiKeyRecord, ApiKeyRepository, StoredApiKey } from './repository.ts'

/** Capacity of an owner's set beyond the limit, for concurrent calls that are rejected afterwards. */
const LIST_SLACK = 100

/** Stores each key as a text that expires with the key, and its id in a set of its owner. */
export function createStoreApiKeys(store: Store): ApiKeyRepository {
  async function find(id: string): Promise<StoredApiKey | null> {
    const [text, used] = await Promise.all([store.get(keyOf(id)), store.get(usedKeyOf(id))])
    if (text === null) return null
    const record = JSON.parse(text) as ApiKeyRecord
    return { record, lastUsedAt: used === null ? null : Number(used) }
  }

  async function remove(id: string): Promise<boolean> {
    const text = await store.getAndDelete(keyOf(id))
    if (text === null) return false
    const { ownerId } = JSON.parse(text) as ApiKeyRecord
    await store.delete(usedKeyOf(id))
    await store.removeMember(ownerKeyOf(ownerId), id)
    return true
  }

  return {
    async add(record, maxKeys) {
      const { id, ownerId, createdAt, expiresAt } = record
      const bounds = { ttlMs: expiresAt - createdAt, maxMembers: maxKeys + LIST_SLACK }
      // Added to the owner's set first: `removeAll` would miss a key that is in no set.
      const { size } = await store.addMember(ownerKeyOf(ownerId), id, bounds)
      if (size > maxKeys) {
        await store.removeMember(ownerKeyOf(ownerId), id)
        return false
      }
      await store.set(keyOf(id), JSON.stringify(record), bounds.ttlMs)
      return true
    },
    find,
    replace(record, next, at) {
      const leftMs = next.expiresAt - at
      const [before, after] = [JSON.stringify(record), JSON.stringify(next)]
      return store.compareAndSet(keyOf(record.id), before, after, leftMs)
    },
    noteUse: ({ id, expiresAt }, at) => store.set(usedKeyOf(id), String(at), expiresAt - at),
    remove,
    async removeAll(ownerId) {
      for (const id of await store.members(ownerKeyOf(ownerId))) await remove(id)
    },
    async list(ownerId) {
      const found = await Promise.all((await store.members(ownerKeyOf(ownerId))).map(find))
      return found.filter((stored) => stored !== null)
    },
  }
}

function keyOf(id: string): string {
  return `sessions:api-key:${id}`
}

function usedKeyOf(id: string): string {
  return `sessions:api-key-used:${id}`
}

function ownerKeyOf(ownerId: string): string {
  return `sessions:api-keys-of:${ownerId}`
}
