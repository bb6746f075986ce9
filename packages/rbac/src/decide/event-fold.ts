/**
 * Folds repeated events, so that one client cannot fill the log: the first at once, the others as a number.
 * Kit's `createEventFold` reports that number with the next event of the key; here an audit has it at the end
 * of the window and when the app closes, although a client that was denied a thousand times never comes back.
 */
import type { Clock } from '@parapet/kit'

/** See {@link EventFold}. */
export interface EventFoldSettings<T> {
  readonly clock: Clock
  /** How long repetitions are folded, in milliseconds. @default 60_000 */
  readonly windowMs?: number
  /** The number of keys that are kept at once. @default 10_000 */
  readonly maxKeys?: number
  /** Reports at the end of a window how often its event was repeated, if it was. */
  readonly report: (value: T, suppressed: number) => void
}

/** What is repeated. */
export interface FoldedEvent<T> {
  readonly key: string
  readonly value: T
}

interface Window<T> {
  readonly value: T
  readonly endsAt: number
  suppressed: number
}

const WINDOW_MS = 60_000
const MAX_KEYS = 10_000

/** Folds repeated events. Its memory is limited, whatever clients send. */
export class EventFold<T> {
  readonly #settings: EventFoldSettings<T>
  readonly #windowMs: number
  /** In order of their ends. */
  readonly #windows = new Map<string, Window<T>>()
  #cancel: (() => void) | undefined

  constructor(settings: EventFoldSettings<T>) {
    this.#settings = settings
    this.#windowMs = settings.windowMs ?? WINDOW_MS
  }

  /**
   * Counts an event.
   *
   * @param rest takes its place while too many keys are kept; its keys must be few.
   * @returns whether it is the first of its key, to be reported at once.
   */
  add(event: FoldedEvent<T>, rest: FoldedEvent<T>): boolean {
    const { clock, maxKeys = MAX_KEYS } = this.#settings
    const isKept = this.#windows.has(event.key) || this.#windows.size < maxKeys
    const { key, value } = isKept ? event : rest
    const now = clock.now()
    const known = this.#windows.get(key)
    if (known !== undefined && !this.#isOver(known, now)) {
      known.suppressed++
      return false
    }
    if (known !== undefined) this.#end(key, known)
    this.#windows.set(key, { value, endsAt: now + this.#windowMs, suppressed: 0 })
    this.#schedule()
    return true
  }

  /** Reports all repetitions now. */
  close(): void {
    this.#cancel?.()
    for (const [key, window] of this.#windows) this.#end(key, window)
  }

  #end(key: string, { value, suppressed }: Window<T>): void {
    this.#windows.delete(key)
    if (suppressed > 0) this.#settings.report(value, suppressed)
  }

  /** If the clock was set back, the end of a window can be too far away. */
  #isOver({ endsAt }: Window<T>, now: number): boolean {
    return endsAt <= now || endsAt > now + this.#windowMs
  }

  /** One timer, for the oldest window. */
  #schedule(): void {
    const { clock } = this.#settings
    const [oldest] = this.#windows.values()
    if (this.#cancel !== undefined || oldest === undefined) return
    const delay = Math.max(oldest.endsAt - clock.now(), 1)
    this.#cancel = clock.schedule(Math.min(delay, this.#windowMs), () => {
      this.#cancel = undefined
      const now = clock.now()
      for (const [key, window] of this.#windows) {
        if (this.#isOver(window, now)) this.#end(key, window)
      }
      this.#schedule()
    })
  }
}
