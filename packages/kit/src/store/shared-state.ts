/**
 * A local copy of state that the instances of a fleet share. Changes are pushed over a channel, so
 * that a request asks nobody; while messages may be missing, the copy says that it is not current.
 */
import { PARAPET_KIT_STORE_TIMEOUT } from '../errors.ts'
import { systemClock, type Clock } from '../time/clock.ts'
import { withDeadline } from '../time/deadline.ts'
import type { Store } from './store.ts'

/** See {@link followSharedState}. */
export interface SharedStateSettings {
  /** Without a store nothing is pushed, and only `refreshMs` keeps the copy up to date. */
  readonly store?: Pick<Store, 'subscribe' | 'publish'> | undefined
  readonly channel: string
  /** @default the machine's clock */
  readonly clock?: Clock
  /**
   * Reads the whole shared state: at start, when an interrupted subscription is restored, every
   * `refreshMs`, and on `reload`. When it rejects in the background it runs again after `retryMs`.
   */
  readonly load: () => Promise<void>
  /** Applies one published change; it must not be able to undo a newer one. */
  readonly receive: (message: string) => void
  /** Shares one change with the other instances. @default publishes it on the channel */
  readonly share?: (message: string) => Promise<void>
  /** @default 500 */
  readonly retryMs?: number
  /** Loads again so long after the last load ended, in milliseconds. @default never */
  readonly refreshMs?: number
  readonly onStateChange?: (isCurrent: boolean) => void
  /** Background failures, to be logged. */
  readonly onError?: (error: unknown) => void
}

/** A follower of shared state. */
export interface SharedState {
  /** `false`: messages may be missing. Ask the source of the state instead of the copy. */
  readonly isCurrent: boolean
  /**
   * Subscribes, then loads. Resolves when both succeeded, or when the first attempt failed; further
   * attempts run in the background.
   */
  start(): Promise<void>
  /**
   * Loads now. A caller that comes during a load gets one that starts after it.
   *
   * @throws what `load` throws.
   */
  reload(): Promise<void>
  /**
   * Shares a change. A change that cannot be shared is kept and shared again every `retryMs`; of
   * more than 100 000 the oldest is dropped.
   *
   * @param keepMs how long the change matters. @default for ever
   * @throws the first failure, so that the caller can report it.
   */
  announce(message: string, keepMs?: number): Promise<void>
  /** Ends all timers and the subscription; a store that does not answer is waited for 2 s. */
  stop(): Promise<void>
}

const RETRY_MS = 500
/** A store that does not answer must not keep an app from closing. */
const STOP_MS = 2000
const MAX_UNSHARED = 100_000

/** Follows shared state. It does nothing before `start`. */
export function followSharedState(settings: SharedStateSettings): SharedState {
  return new SharedStateFollower(settings)
}

class SharedStateFollower implements SharedState {
  readonly #settings: SharedStateSettings
  readonly #clock: Clock
  /** Changes that could not be shared, and until when each matters. */
  readonly #unshared = new Map<string, number>()
  #isCurrent = false
  #isStopped = false
  /** Whether messages flow. */
  #isSubscribed: boolean
  #unsubscribe: (() => Promise<void>) | undefined
  #running: Promise<void> | undefined
  #queued: Promise<void> | undefined
  #cancelRetry: (() => void) | undefined
  #cancelRefresh: (() => void) | undefined

  constructor(settings: SharedStateSettings) {
    this.#settings = settings
    this.#clock = settings.clock ?? systemClock
    this.#isSubscribed = settings.store === undefined
  }

  get isCurrent(): boolean {
    return this.#isCurrent
  }

  async start(): Promise<void> {
    try {
      await this.#subscribe()
      await this.reload()
    } catch (error) {
      this.#report(error)
      this.#retry()
    }
  }

  async reload(): Promise<void> {
    if (this.#running === undefined) return this.#startLoad()
    // One further load is enough for all that ask during this one.
    this.#queued ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#queued = undefined
        return this.#startLoad()
      })
    return this.#queued
  }

  async announce(message: string, keepMs = Infinity): Promise<void> {
    try {
      await this.#share(message)
      this.#unshared.delete(message)
    } catch (error) {
      const [oldest] = this.#unshared.keys()
      if (this.#unshared.size >= MAX_UNSHARED && oldest !== undefined) this.#unshared.delete(oldest)
      this.#unshared.set(message, this.#clock.now() + keepMs)
      this.#retry()
      throw error
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#setCurrent(false)
    this.#cancelRetry?.()
    this.#cancelRefresh?.()
    // The store may be closed already, and the subscription with it, or may not answer.
    const ended = this.#unsubscribe?.() ?? Promise.resolve()
    const late = (): Error => new PARAPET_KIT_STORE_TIMEOUT(STOP_MS)
    await withDeadline(ended, STOP_MS, late, this.#clock).catch(() => {})
  }

  async #subscribe(): Promise<void> {
    const { store, channel, receive } = this.#settings
    if (store === undefined || this.#unsubscribe !== undefined) return
    // Set before the call: the connection may break before its promise has resolved.
    this.#isSubscribed = true
    const unsubscribe = await store.subscribe(channel, {
      message: (message) => {
        try {
          receive(message)
        } catch (error) {
          this.#report(error)
        }
      },
      interrupted: () => {
        this.#isSubscribed = false
        this.#setCurrent(false)
      },
      restored: () => {
        this.#isSubscribed = true
        this.#reloadInBackground()
      },
    })
    if (this.#isStopped) await unsubscribe()
    else this.#unsubscribe = unsubscribe
  }

  #startLoad(): Promise<void> {
    this.#running = this.#load().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #load(): Promise<void> {
    this.#cancelRefresh?.()
    try {
      await this.#settings.load()
      // A load that is queued began after this one and may still find what this one missed.
      if (this.#isSubscribed && this.#queued === undefined) this.#setCurrent(!this.#isStopped)
    } catch (error) {
      this.#setCurrent(false)
      throw error
    } finally {
      this.#scheduleRefresh()
    }
  }

  #reloadInBackground(): void {
    this.reload().catch((error: unknown) => {
      this.#report(error)
      this.#retry()
    })
  }

  #scheduleRefresh(): void {
    const { refreshMs } = this.#settings
    if (refreshMs === undefined || this.#isStopped) return
    this.#cancelRefresh = this.#clock.schedule(refreshMs, () => this.#reloadInBackground())
  }

  #retry(): void {
    if (this.#isStopped || this.#cancelRetry !== undefined) return
    this.#cancelRetry = this.#clock.schedule(this.#settings.retryMs ?? RETRY_MS, () => {
      this.#cancelRetry = undefined
      void this.#repair()
    })
  }

  async #repair(): Promise<void> {
    await this.#shareAgain()
    const { store } = this.#settings
    if (store !== undefined && this.#unsubscribe === undefined) await this.start()
    else if (!this.#isCurrent && this.#isSubscribed && !this.#isStopped) this.#reloadInBackground()
  }

  /** One after the other: while the first cannot be shared, the others cannot either. */
  async #shareAgain(): Promise<void> {
    const now = this.#clock.now()
    for (const [message, until] of this.#unshared) {
      try {
        if (until > now) await this.#share(message)
        this.#unshared.delete(message)
      } catch (error) {
        this.#report(error)
        this.#retry()
        return
      }
    }
  }

  async #share(message: string): Promise<void> {
    const { store, channel, share } = this.#settings
    await (share === undefined ? store?.publish(channel, message) : share(message))
  }

  #setCurrent(isCurrent: boolean): void {
    if (this.#isCurrent === isCurrent) return
    this.#isCurrent = isCurrent
    this.#settings.onStateChange?.(isCurrent)
  }

  #report(error: unknown): void {
    if (!this.#isStopped) this.#settings.onError?.(error)
  }
}
