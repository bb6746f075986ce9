/** What the tabs of an origin share: until when they are signed in, who refreshes, and what changed. */
import { browser } from './browser.ts'

/** What happened to the session, in this tab or in another. */
export type SessionChange = 'signed-in' | 'signed-out'

/** The state that the tabs share. It contains no token: those are in cookies that no script can read. */
export interface Tabs {
  /** When the access token expires by this machine's clock, in milliseconds; 0: not signed in, NaN: unknown. */
  expiresAt(): number
  /** Whether this page knows that it is signed out. A new page does not: a redirect may have signed it in. */
  isSignedOut(): boolean
  /** When the tokens last changed, as far as this tab knows. */
  changedAt(): number
  /** When the tokens last changed, in any tab. */
  latestChange(): Promise<number>
  /** Keeps that the tokens changed now. `null`: the session has ended. */
  keep(expiresInSeconds: number | null): void
  /** Tells this tab and the others. */
  tell(change: SessionChange): void
  /** Runs `work` while no other tab runs its own. */
  alone<T>(work: () => Promise<T>): Promise<T>
  /** @returns a function that removes the listener. */
  onChange(listener: (change: SessionChange) => void): () => void
}

/** Creates the state for the routes at `name`. */
export function createTabs(name: string): Tabs {
  const key = `parapet-session:${name}`
  const listeners = new Set<(change: SessionChange) => void>()
  const mark = createMark(key)
  const channel = typeof BroadcastChannel === 'undefined' ? undefined : new BroadcastChannel(key)
  let memory = ''
  let signedOut = false
  let queue: Promise<unknown> = Promise.resolve()

  const told = (change: SessionChange): void => {
    signedOut = change === 'signed-out'
    for (const listener of listeners) listener(change)
  }
  if (channel !== undefined) {
    channel.addEventListener('message', (event) => {
      told((event as unknown as { readonly data: SessionChange }).data)
    })
    // Where the client is tested in Node, an open channel would keep the process alive.
    ;(channel as { unref?: () => void }).unref?.()
  }

  /** The two times. A browser may refuse its storage: then each tab knows its own. */
  const read = (): readonly [changedAt: number, expiresAt: number] => {
    let text = memory
    try {
      text = browser.localStorage?.getItem(key) ?? memory
    } catch {}
    const [changedAt = NaN, expiresAt = NaN] = text === '' ? [] : text.split(' ').map(Number)
    return [changedAt, expiresAt]
  }

  return {
    isSignedOut: () => signedOut,
    changedAt: () => read()[0] || 0,
    latestChange: async () => Math.max(read()[0] || 0, await mark.latest()),
    expiresAt: () => read()[1],
    keep(seconds) {
      const now = Date.now()
      memory = `${now} ${seconds === null ? 0 : now + seconds * 1000}`
      try {
        browser.localStorage?.setItem(key, memory)
      } catch {}
      mark.set(now)
    },
    tell(change) {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has one origin
      channel?.postMessage(change)
      told(change)
    },
    alone(work) {
      const locks = browser.navigator?.locks
      if (locks !== undefined) return locks.request(key, work)
      // Without Web Locks, as over plain http, the calls of one tab wait for each other, and the
      // service's `refreshGraceMs` forgives two tabs.
      const result = queue.then(work)
      queue = result.catch(() => {})
      return result
    },
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

/**
 * The time of the last change as the name of a lock that the tab holds: tabs see each other's storage late, but locks at
 * once.
 */
function createMark(key: string) {
  let release: (() => void) | undefined
  return {
    set(now: number): void {
      release?.()
      const hold = () => new Promise<void>((resolve) => (release = resolve))
      void browser.navigator?.locks?.request(`${key}@${now}`, hold)
    },
    async latest(): Promise<number> {
      const { held = [] } = (await browser.navigator?.locks?.query()) ?? {}
      const times = held.map(({ name = '' }) =>
        name.startsWith(`${key}@`) ? Number(name.slice(key.length + 1)) : 0,
      )
      return Math.max(0, ...times)
    },
  }
}
