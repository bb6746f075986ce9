/**
 * Stores links in the store: a list for each user, which decides, and for each identity who may have it.
 * A link exists if both say so, so that a kill between the two writes leaves no half of one.
 */
import { conflict, retryConflicts, type Store } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { RecordSeal } from '../secrets/record-seal.ts'
import {
  idOfIdentity,
  isSameIdentity,
  type AddedLink,
  type Identity,
  type IdentityLinks,
  type LinkedIdentity,
  type RemovedLink,
} from './identity-links.ts'

type Links = readonly LinkedIdentity[]

/** Ten years, in milliseconds: a link must not end because it was not used. */
const TTL_MS = 315_360_000_000

/** Creates the links. A store that evicts keys may lose one: prefer `sql`. */
export function createStoreLinks(store: Store, seal: RecordSeal): IdentityLinks {
  return new StoreLinks(store, seal)
}

class StoreLinks implements IdentityLinks {
  readonly #store: Store
  readonly #seal: RecordSeal

  constructor(store: Store, seal: RecordSeal) {
    this.#store = store
    this.#seal = seal
  }

  async find(identity: Identity): Promise<string | null> {
    const stored = await this.#store.get(ownerKey(identity))
    const userId = this.#readOwner(identity, stored)
    if (userId === null || !has(await this.list(userId), identity)) return null
    // Under the newest secret, so that links that are used outlive the older ones.
    const text = this.#sealOwner(identity, userId)
    if (text !== stored) {
      await this.#store.compareAndSet(ownerKey(identity), stored, text, TTL_MS)
      await this.#updateList(userId, (links) => links)
    }
    return userId
  }

  async list(userId: string): Promise<Links> {
    return this.#readList(userId, await this.#store.get(listKey(userId)))
  }

  async add(userId: string, identity: LinkedIdentity, maxLinks: number): Promise<AddedLink> {
    if (!(await this.#claim(userId, identity))) return 'taken'
    let result = 'added' as AddedLink
    await this.#updateList(userId, (links) => {
      result = has(links, identity) ? 'present' : links.length < maxLinks ? 'added' : 'full'
      return result === 'added' ? [...links, identity] : null
    })
    // The claim alone is no link: another user may take it over.
    if (result === 'full') return result
    // Another user may have claimed it before it was in the list.
    const stored = await this.#store.get(ownerKey(identity))
    if (this.#readOwner(identity, stored) === userId) return result
    await this.#updateList(userId, (links) => without(links, identity))
    return 'taken'
  }

  async remove(
    userId: string,
    identity: Identity,
    mayRemove: (left: readonly Identity[]) => boolean,
  ): Promise<RemovedLink> {
    let isKept = false
    const isRemoved = await this.#updateList(userId, (links) => {
      const left = without(links, identity)
      isKept = left.length < links.length && !mayRemove(left)
      return left.length === links.length || isKept ? null : left
    })
    if (!isRemoved) return isKept ? 'kept' : 'missing'
    const stored = await this.#store.get(ownerKey(identity))
    if (stored !== null && this.#readOwner(identity, stored) === userId) {
      await this.#store.compareAndSet(ownerKey(identity), stored, null, TTL_MS)
    }
    return 'removed'
  }

  /** Gives an identity to a user, unless another user has it. */
  #claim(userId: string, identity: Identity): Promise<boolean> {
    const key = ownerKey(identity)
    return retryConflicts<boolean>(async () => {
      const stored = await this.#store.get(key)
      const owner = this.#readOwner(identity, stored)
      if (owner === userId) return true
      if (owner !== null && has(await this.list(owner), identity)) return false
      const text = this.#sealOwner(identity, userId)
      return (await this.#store.compareAndSet(key, stored, text, TTL_MS)) ? true : conflict
    }, late)
  }

  /** Replaces the list. @param change returns `null` to change nothing. @returns whether it did. */
  #updateList(userId: string, change: (links: Links) => Links | null): Promise<boolean> {
    const key = listKey(userId)
    return retryConflicts<boolean>(async () => {
      const stored = await this.#store.get(key)
      const next = change(this.#readList(userId, stored))
      if (next === null) return false
      const json = JSON.stringify({ i: next })
      const text = next.length === 0 ? null : this.#seal.seal('identity', listId(userId), json)
      if (text === null && stored === null) return true
      return (await this.#store.compareAndSet(key, stored, text, TTL_MS)) ? true : conflict
    }, late)
  }

  #readList(userId: string, text: string | null): Links {
    const json = text === null ? null : this.#seal.open('identity', listId(userId), text)
    return json === null ? [] : (JSON.parse(json) as { readonly i: Links }).i
  }

  #readOwner(identity: Identity, text: string | null): string | null {
    const json = text === null ? null : this.#seal.open('identity', idOfIdentity(identity), text)
    return json === null ? null : (JSON.parse(json) as { readonly u: string }).u
  }

  #sealOwner(identity: Identity, userId: string): string {
    return this.#seal.seal('identity', idOfIdentity(identity), JSON.stringify({ u: userId }))
  }
}

const late = (): Error => new PARAPET_SESSIONS_UNAVAILABLE()

function ownerKey(identity: Identity): string {
  return `sessions:identity:${idOfIdentity(identity)}`
}

function listKey(userId: string): string {
  return `sessions:identities:${userId}`
}

/** The space is in no id of an identity. */
function listId(userId: string): string {
  return `of ${userId}`
}

function has(links: readonly Identity[], identity: Identity): boolean {
  return links.some((link) => isSameIdentity(link, identity))
}

function without(links: Links, identity: Identity): Links {
  return links.filter((link) => !isSameIdentity(link, identity))
}
