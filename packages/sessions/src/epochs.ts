/**
 * Epochs: a number for each user, and one for the fleet, that only grows. A token or a session from
 * before an epoch is dead, in whatever order the instances hear of it and whatever their clocks say.
 */
import type { Store } from '@parapet/kit'
import type { TokenEpochs } from './access-tokens.ts'
import { PARAPET_SESSIONS_UNAVAILABLE } from './errors.ts'

/** What is at one epoch's key, as `<tokens>.<sessions>`. */
interface Epoch {
  /** Access tokens that carry less are stale; their session may get new ones. */
  readonly tokens: number
  /** Sessions begun under less have ended. */
  readonly sessions: number
}

/** The epochs of one user and of the fleet. */
export interface EpochPair {
  readonly user: Epoch
  readonly fleet: Epoch
}

/** See {@link createEpochs}. */
export interface Epochs {
  read(userId: string): Promise<EpochPair>
  readFleet(): Promise<Epoch>
  /** Opens the first epoch of a fleet that has none, as of now. @returns the one there is then */
  begin(): Promise<number>
  /**
   * Opens a new epoch.
   *
   * @param userId `null`: for everyone.
   * @param ends `sessions`: every session so far has ended; `tokens`: only their access tokens.
   * @returns the number that a token must carry from now on.
   */
  advance(userId: string | null, ends: 'tokens' | 'sessions'): Promise<number>
  /**
   * Puts an epoch that this instance knows back into a store that lost it; else the tokens made from
   * then on would carry less than the instances ask for.
   */
  restore(userId: string | null, tokens: number): Promise<void>
}

const NONE: Epoch = { tokens: 0, sessions: 0 }
const FORM = /^(\d{1,16})\.(\d{1,16})$/
/** For the fleet: forgotten, it would make every new token a stale one. In milliseconds, ten years. */
const FLEET_TTL_MS = 315_360_000_000
/** Racers that a change may lose against before it gives up. */
const MAX_TRIES = 50

/** @param keepMs how long the epoch of a user must be remembered: as long as a session may live. */
export function createEpochs(store: Store, now: () => number, keepMs: number): Epochs {
  const readOne = async (userId: string | null): Promise<Epoch> =>
    parseEpoch(await store.get(keyOf(userId)))
  async function change(userId: string | null, next: (epoch: Epoch) => Epoch): Promise<Epoch> {
    const key = keyOf(userId)
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const text = await store.get(key)
      const epoch = parseEpoch(text)
      const changed = next(epoch)
      if (changed === epoch) return epoch
      const ttlMs = userId === null ? FLEET_TTL_MS : keepMs
      const written = `${changed.tokens}.${changed.sessions}`
      if (await store.compareAndSet(key, text, written, ttlMs)) return changed
    }
    throw new PARAPET_SESSIONS_UNAVAILABLE()
  }

  return {
    async read(userId) {
      const [user, fleet] = await Promise.all([readOne(userId), readOne(null)])
      return { user, fleet }
    },
    readFleet: () => readOne(null),
    async begin() {
      const { tokens } = await change(null, (epoch) =>
        epoch.tokens === 0 ? { tokens: now(), sessions: 0 } : epoch,
      )
      return tokens
    },
    async advance(userId, ends) {
      const { tokens } = await change(userId, (epoch) => {
        // The time, so that an epoch which was forgotten is not used again; but never backwards.
        const next = Math.max(now(), epoch.tokens + 1)
        return { tokens: next, sessions: ends === 'sessions' ? next : epoch.sessions }
      })
      return tokens
    },
    async restore(userId, tokens) {
      // The sessions of before were lost with it.
      await change(userId, (epoch) =>
        epoch.tokens < tokens ? { tokens, sessions: tokens } : epoch,
      )
    },
  }
}

/** What a token made under these epochs carries. */
export function tokenEpochsOf({ user, fleet }: EpochPair): TokenEpochs {
  return { user: user.tokens, fleet: fleet.tokens }
}

/** Whether a session that began under `born` is over. */
export function isOver(born: TokenEpochs, { user, fleet }: EpochPair): boolean {
  return born.user < user.sessions || born.fleet < fleet.sessions
}

function parseEpoch(text: string | null): Epoch {
  if (text === null) return NONE
  const [, tokens, sessions] = FORM.exec(text) ?? []
  // What cannot be read must not let anybody in.
  if (tokens === undefined || sessions === undefined) throw new PARAPET_SESSIONS_UNAVAILABLE()
  return { tokens: Number(tokens), sessions: Number(sessions) }
}

function keyOf(userId: string | null): string {
  return userId === null ? 'sessions:epoch' : `sessions:epoch:${userId}`
}
