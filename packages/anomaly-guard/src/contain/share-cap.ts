/**
 * The limit on how many clients the guard may block by itself: a share of the clients of the last ten minutes.
 * It bounds the harm of a bad rule, or of an attacker who makes others look like attackers.
 */

/** A hash for each client goes in; about how many there are comes out. */
export interface ClientCounter {
  /** @param hash from 1 to 2^53 */
  observe(hash: number, nowMs: number): void
  /** About how many different clients there were in the last window (up to a half more). */
  estimate(nowMs: number): number
}

const BITS = 1 << 17

/** Counts clients by linear counting over two bitmaps of half a window each; 32 KiB. */
export function createClientCounter(windowMs: number): ClientCounter {
  const halfMs = windowMs / 2
  let present = new Uint32Array(BITS / 32)
  let past = new Uint32Array(BITS / 32)
  let half = -1
  const turn = (nowMs: number): void => {
    const now = Math.floor(nowMs / halfMs)
    if (now === half) return
    past = now === half + 1 ? present : new Uint32Array(BITS / 32)
    present = new Uint32Array(BITS / 32)
    half = now
  }
  return {
    observe(hash, nowMs) {
      if (nowMs >= (half + 1) * halfMs || half === -1) turn(nowMs)
      const bit = hash & (BITS - 1)
      present[bit >>> 5]! |= 1 << (bit & 31)
    },
    estimate(nowMs) {
      turn(nowMs)
      let zeros = 0
      for (let index = 0; index < present.length; index++) {
        zeros += 32 - popcount(present[index]! | past[index]!)
      }
      return Math.round(-BITS * Math.log(Math.max(zeros, 1) / BITS))
    },
  }
}

function popcount(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555)
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** See {@link createShareCap}. */
export interface ShareCapSettings {
  /** The share of recent clients that may be blocked in ten minutes, 0 to 1. */
  readonly maxBlockedRatio: number
  /** So many may be blocked whatever the share: a small service has few clients. */
  readonly minBlocked: number
  readonly clients: ClientCounter
  /** Milliseconds that never go back. */
  readonly tick: () => number
}

/** Decides whether one more client may be blocked. */
export interface ShareCap {
  /** Takes one place. @returns false where none is left. */
  take(): boolean
  /** How many are blocked and how many may be, at the moment. */
  reading(): { readonly blocked: number; readonly limit: number }
}

/** The window of the cap, in milliseconds. */
export const CAP_WINDOW_MS = 600_000

/** Creates the cap. It counts the blocks that this instance decided or heard of. */
export function createShareCap(settings: ShareCapSettings): ShareCap {
  const { maxBlockedRatio, minBlocked, clients, tick } = settings
  let times: number[] = []
  const reading = () => {
    const nowMs = tick()
    times = times.filter((time) => time > nowMs - CAP_WINDOW_MS)
    const limit = Math.max(minBlocked, Math.floor(clients.estimate(nowMs) * maxBlockedRatio))
    return { blocked: times.length, limit }
  }
  return {
    take() {
      const { blocked, limit } = reading()
      if (blocked >= limit) return false
      times.push(tick())
      return true
    },
    reading,
  }
}
