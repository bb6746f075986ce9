/** A circuit breaker: while a dependency is down, calls fail at once instead of waiting for it. */
import { systemClock, type Clock } from '../time/clock.ts'
import { warn } from '../warn.ts'

/** `closed`: calls pass. `open`: calls fail at once. `half-open`: one call at a time is let through as a probe. */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** What {@link createBreaker} takes. */
export interface BreakerOptions {
  /** Consecutive failures that open it. @default 5 */
  readonly failureThreshold?: number
  /** How long it stays open before it lets a probe through, in milliseconds. @default 1000 */
  readonly cooldownMs?: number
  /** @default the machine's clock */
  readonly clock?: Clock
}

/** See {@link createBreaker}. */
export interface Breaker {
  readonly state: BreakerState
  /** Whether a call may be made now. After each `true` call `succeed` or `fail` once. */
  tryEnter(): boolean
  /** The call was answered. */
  succeed(): void
  /** The call was not answered: a timeout, a lost connection. An error reply is an answer. */
  fail(): void
  /** The dependency is known to be down: opens at once, whatever the threshold is. */
  trip(): void
  /** The dependency is known to be back: lets the next call through before the cooldown ends. */
  allowProbe(): void
  /** @returns a function that stops the listener. */
  onStateChange(listener: (state: BreakerState) => void): () => void
}

/** Makes a breaker that is closed. */
export function createBreaker({
  failureThreshold = 5,
  cooldownMs = 1000,
  clock = systemClock,
}: BreakerOptions = {}): Breaker {
  const listeners = new Set<(state: BreakerState) => void>()
  let state: BreakerState = 'closed'
  let failures = 0
  let probing = false
  let cancelCooldown: (() => void) | undefined

  function enter(next: BreakerState): void {
    if (state === next) return
    cancelCooldown?.()
    state = next
    probing = false
    if (next === 'closed') failures = 0
    if (next === 'open') cancelCooldown = clock.schedule(cooldownMs, () => enter('half-open'))
    for (const listener of listeners) {
      try {
        listener(next)
      } catch (error) {
        warn(error)
      }
    }
  }

  return {
    get state() {
      return state
    },
    tryEnter() {
      if (state === 'closed') return true
      if (state === 'open' || probing) return false
      return (probing = true)
    },
    succeed() {
      failures = 0
      // An answer to a call from before the breaker opened does not prove that the dependency is back.
      if (state === 'half-open') enter('closed')
    },
    fail() {
      if (state === 'half-open') enter('open')
      else if (state === 'closed' && ++failures >= failureThreshold) enter('open')
    },
    trip() {
      enter('open')
    },
    allowProbe() {
      if (state === 'open') enter('half-open')
    },
    onStateChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}
