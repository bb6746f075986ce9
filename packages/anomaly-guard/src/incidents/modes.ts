/** The mode of each rule: from the options, until an operator promotes or demotes it for the whole fleet. */
import {
  followSharedState,
  updateText,
  type Clock,
  type SharedState,
  type Store,
} from '@parapet/kit'
import type { Mode } from '../rules/rule.ts'

/** See {@link createModes}. */
export interface ModesSettings {
  readonly store: Store
  readonly clock: Clock
  /** The option `mode`. */
  readonly mode: Mode
  readonly onError: (error: unknown) => void
}

/** The modes. */
export interface Modes {
  start(): Promise<void>
  stop(): Promise<void>
  /** The mode of a rule. @param own what its definition says. */
  of(rule: string, own?: Mode): Mode
  /** Sets the mode of a rule, or of all that have none of their own (`*`), on every instance. @throws the store's error */
  set(rule: string, mode: Mode): Promise<void>
  /** What was set by operators. */
  readonly changes: Readonly<Record<string, Mode>>
}

const KEY = 'anomaly-guard:modes'
const KEEP_MS = 315_360_000_000
const REFRESH_MS = 60_000
const MODES: readonly unknown[] = ['shadow', 'alert', 'enforce']

/** Creates the modes of one instance. */
export function createModes({ store, clock, mode, onError }: ModesSettings): Modes {
  let changes: Readonly<Record<string, Mode>> = Object.create(null) as Record<string, Mode>
  const learn = (text: string | null): void => {
    if (text !== null) changes = parseModes(text)
  }
  const shared: SharedState = followSharedState({
    store,
    clock,
    channel: KEY,
    load: async () => {
      const text = await store.get(KEY)
      // A store that has lost everything gets back what operators decided.
      if (text === null && Object.keys(changes).length > 0) {
        await store.setIfAbsent(KEY, JSON.stringify(changes), KEEP_MS)
      } else learn(text)
    },
    receive: learn,
    refreshMs: REFRESH_MS,
    onError,
  })
  return {
    start: () => shared.start(),
    stop: () => shared.stop(),
    of: (rule, own) => changes[rule] ?? own ?? changes['*'] ?? mode,
    async set(rule, next) {
      const text = await updateText(
        store,
        KEY,
        (present) => {
          const others = present === null ? {} : parseModes(present)
          const edited = JSON.stringify({ ...others, [rule]: next })
          return { result: edited, next: edited, ttlMs: KEEP_MS }
        },
        () => new Error('too many operators change modes at once'),
      )
      learn(text)
      await shared.announce(text)
    },
    get changes() {
      return changes
    },
  }
}

function parseModes(text: string): Readonly<Record<string, Mode>> {
  const modes = Object.create(null) as Record<string, Mode>
  try {
    for (const [rule, mode] of Object.entries(JSON.parse(text) as object)) {
      if (MODES.includes(mode)) modes[rule] = mode as Mode
    }
  } catch {
    // A damaged text changes nothing: the options apply.
  }
  return Object.freeze(modes)
}
