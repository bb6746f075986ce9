/** Tells the other instances that keys have changed, and goes on until they could be told. */
import type { Clock, Store } from '@parapet/kit'
import { BoundedMap } from './bounded-map.ts'
import type { KeyScope } from './key-ring.ts'
import { nameOfScope } from './key-vault.ts'

/** Where changes are told; the message is the scope. */
export const CHANNEL = 'field-encryption:keys'

/** What an {@link Announcer} stands on. */
interface AnnouncerPorts {
  readonly store: Pick<Store, 'publish'>
  readonly clock: Clock
  readonly warn: (fields: object, message: string) => void
}

/** Announces changes of keys. */
export interface Announcer {
  /** Resolves when the change is told, or when it turned out that it has to be told later. */
  announce(scope: KeyScope): Promise<void>
  close(): void
}

const AGAIN_MS = 1000
const MAX_PENDING = 100_000

/**
 * Makes an {@link Announcer}. While a store is down, all who listen know it and read the key table;
 * but it may be down for this instance alone.
 */
export function createAnnouncer({ store, clock, warn }: AnnouncerPorts): Announcer {
  const pending = new BoundedMap<string, KeyScope>(MAX_PENDING)
  let cancel: (() => void) | undefined
  let closed = false

  async function tell(scope: KeyScope): Promise<boolean> {
    const name = nameOfScope(scope)
    try {
      await store.publish(CHANNEL, JSON.stringify(scope))
      pending.delete(name)
      return true
    } catch (error) {
      warn({ err: error }, 'a change of keys could not be announced, and will be again')
      pending.set(name, scope)
      if (!closed) cancel ??= clock.schedule(AGAIN_MS, again)
      return false
    }
  }

  function again(): void {
    cancel = undefined
    // One after the other, and the rest not before the first is told.
    void (async () => {
      for (const scope of pending.values()) if (!(await tell(scope))) return
    })()
  }

  return {
    async announce(scope) {
      await tell(scope)
    },
    close() {
      closed = true
      cancel?.()
    },
  }
}
