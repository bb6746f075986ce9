/** API keys in the store of the fleet: good where the store keeps what it has through a restart. */
import type { Store } from '@parapet/kit'
import type { ApiKeyRecord, ApiKeyRepository, KeptApiKey } from './api-keys.ts'

/** For racers that go beyond the limit and are taken off again. */
const LIST_SLACK = 100

/** Keeps each key as a text that expires with it, and its id on a list of its owner. */
export function createStoreApiKeys(store: Store): ApiKeyRepository {
  async function find(id: string): Promise<KeptApiKey | null> {
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
    await store.removeMember(listKeyOf(ownerId), id)
    return true
  }

  return {
    async add(record, maxKeys) {
      const { id, ownerId, createdAt, expiresAt } = record
      const bounds = { ttlMs: expiresAt - createdAt, maxMembers: maxKeys + LIST_SLACK }
      // On the owner's list before it works: a key that is on no list would outlive its owner.
      const { size } = await store.addMember(listKeyOf(ownerId), id, bounds)
      if (size > maxKeys) {
        await store.removeMember(listKeyOf(ownerId), id)
        return false
      }
      await store.set(keyOf(id), JSON.stringify(record), bounds.ttlMs)
      return true
    },
    find,
    replace(record, next) {
      const leftMs = next.expiresAt - next.rotatedAt!
      const [before, after] = [JSON.stringify(record), JSON.stringify(next)]
      return store.compareAndSet(keyOf(record.id), before, after, leftMs)
    },
    noteUse: ({ id, expiresAt }, at) => store.set(usedKeyOf(id), String(at), expiresAt - at),
    remove,
    async removeAll(ownerId) {
      for (const id of await store.members(listKeyOf(ownerId))) await remove(id)
    },
    async list(ownerId) {
      const found = await Promise.all((await store.members(listKeyOf(ownerId))).map(find))
      return found.filter((kept) => kept !== null)
    },
  }
}

function keyOf(id: string): string {
  return `sessions:api-key:${id}`
}

function usedKeyOf(id: string): string {
  return `sessions:api-key-used:${id}`
}

function listKeyOf(ownerId: string): string {
  return `sessions:api-keys-of:${ownerId}`
}
