/**
 * The records of API keys that were just used, so that a busy key costs one lookup a second. A change is
 * announced to every instance, which then forgets the record at once; if the announcement is lost, it
 * is used for another second at most.
 */
import { followSharedState, type Clock, type SharedState, type Store } from '@parapet/kit'
import type { ApiKeyRepository, StoredApiKey } from './repository.ts'

/** See {@link createRecentKeys}. */
export interface RecentKeys {
  /** The record of a key, at most a second old. `null` is never remembered. */
  find(id: string): Promise<StoredApiKey | null>
  /** Forgets a changed key here and on the other instances. @param id `null`: all keys */
  changed(id: string | null): Promise<void>
  /** Subscribes to changes. Before it resolves, nothing is remembered. */
  start(): Promise<void>
  stop(): Promise<void>
}

/** What {@link createRecentKeys} needs. */
export interface RecentKeysSettings {
  readonly repository: Pick<ApiKeyRepository, 'find'>
  readonly store: Store
  readonly clock: Clock
  /** Failures in the background, to be logged. They are retried. */
  readonly onError?: (error: unknown) => void
}

const CHANNEL = 'sessions:api-keys'
/** No id of a key contains it. */
const ALL = '*'
const KEEP_MS = 1000
/** Beyond it all records are dropped, and looked up once more. */
const MAX_KEYS = 10_000

/** Creates the memory of one instance. */
export function createRecentKeys(settings: RecentKeysSettings): RecentKeys {
  const { repository, store, clock, onError } = settings
  const recent = new Map<string, { readonly stored: StoredApiKey; readonly until: number }>()
  let changes = 0

  function forget(id: string): void {
    changes++
    if (id === ALL) recent.clear()
    else recent.delete(id)
  }

  const shared: SharedState = followSharedState({
    store,
    clock,
    channel: CHANNEL,
    load: async () => forget(ALL),
    receive: forget,
    ...(onError === undefined ? undefined : { onError }),
  })

  return {
    async find(id) {
      const known = recent.get(id)
      if (known !== undefined && shared.isCurrent && known.until > clock.now()) return known.stored
      const before = changes
      const stored = await repository.find(id)
      // A key that was changed during the lookup may have been read before the change.
      if (stored === null || !shared.isCurrent || changes !== before) return stored
      if (recent.size >= MAX_KEYS) recent.clear()
      recent.set(id, { stored, until: clock.now() + KEEP_MS })
      return stored
    },
    async changed(id) {
      const message = id ?? ALL
      forget(message)
      // The change itself is stored; other instances notice it within a second.
      await shared.announce(message, KEEP_MS).catch(() => {})
    },
    start: () => shared.start(),
    stop: () => shared.stop(),
  }
}
