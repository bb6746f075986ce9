/**
 * Epochs: one number for each user and one for the whole fleet, which only grow. A token or session
 * that is older than its epoch is invalid, whatever the clocks of the instances say.
 *
 * @see docs/adr/0502-epochs-and-pushed-revocation.md
 */
import { updateText, type Store } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'

/** The epochs of the user and of the fleet at the time a token was issued. */
export interface TokenEpochs {
  readonly user: number
  readonly fleet: number
}

/** One epoch; stored as `<tokens>.<sessions>`. */
interface Epoch {
  /** Access tokens with a smaller number are invalid; their session can still be refreshed. */
  readonly tokens: number
  /** Sessions that began under a smaller number have ended. */
  readonly sessions: number
}

/** The epochs of one user and of the fleet. */
export interface EpochPair {
  readonly user: Epoch
  readonly fleet: Epoch
}

/** See {@link createEpochs}. Every method rejects with the store's error. */
export interface Epochs {
  /** @throws PARAPET_SESSIONS_UNAVAILABLE the stored text is not an epoch. */
  read(userId: string): Promise<EpochPair>
  readFleet(): Promise<Epoch>
  /** Starts the first epoch of the fleet if there is none. @returns the current number */
  begin(): Promise<number>
  /**
   * Starts a new epoch.
   *
   * @param userId `null` for the whole fleet.
   * @param ends `sessions` ends sessions and their access tokens; `tokens` only access tokens.
   * @returns the number that valid tokens carry from now on.
   */
  advance(userId: string | null, ends: 'tokens' | 'sessions'): Promise<number>
  /**
   * Writes an epoch back into a store that lost it. Otherwise new tokens would carry a smaller
   * number than the instances require.
   */
  restore(userId: string | null, tokens: number): Promise<void>
}

const NONE: Epoch = { tokens: 0, sessions: 0 }
const FORM = /^(\d{1,16})\.(\d{1,16})$/
/** Ten years, in milliseconds. If the epoch of the fleet expired, every new token would be invalid. */
const FLEET_TTL_MS = 315_360_000_000

/** @param keepMs how long the epoch of a user is kept, in milliseconds: at least a session's lifetime. */
export function createEpochs(store: Store, now: () => number, keepMs: number): Epochs {
  const readOne = async (userId: string | null): Promise<Epoch> =>
    parseEpoch(await store.get(keyOf(userId)))

  /** @param next returns the same object to change nothing. */
  function change(userId: string | null, next: (epoch: Epoch) => Epoch): Promise<Epoch> {
    const ttlMs = userId === null ? FLEET_TTL_MS : keepMs
    return updateText<Epoch>(
      store,
      keyOf(userId),
      (text) => {
        const epoch = parseEpoch(text)
        const changed = next(epoch)
        if (changed === epoch) return { result: epoch }
        return { next: `${changed.tokens}.${changed.sessions}`, ttlMs, result: changed }
      },
      () => new PARAPET_SESSIONS_UNAVAILABLE(),
    )
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
        // The current time, so that the number of an expired epoch is not used again.
        const next = Math.max(now(), epoch.tokens + 1)
        return { tokens: next, sessions: ends === 'sessions' ? next : epoch.sessions }
      })
      return tokens
    },
    async restore(userId, tokens) {
      // A store that lost its epochs also lost the sessions that began before.
      await change(userId, (epoch) =>
        epoch.tokens < tokens ? { tokens, sessions: tokens } : epoch,
      )
    },
  }
}

/** The epochs that a token issued now carries. */
export function tokenEpochsOf({ user, fleet }: EpochPair): TokenEpochs {
  return { user: user.tokens, fleet: fleet.tokens }
}

/** Whether a session that began under these epochs has ended. */
export function hasEnded(began: TokenEpochs, { user, fleet }: EpochPair): boolean {
  return began.user < user.sessions || began.fleet < fleet.sessions
}

function parseEpoch(text: string | null): Epoch {
  if (text === null) return NONE
  const [, tokens, sessions] = FORM.exec(text) ?? []
  // Treating an unreadable epoch as zero would accept revoked tokens.
  if (tokens === undefined || sessions === undefined) throw new PARAPET_SESSIONS_UNAVAILABLE()
  return { tokens: Number(tokens), sessions: Number(sessions) }
}

function keyOf(userId: string | null): string {
  return userId === null ? 'sessions:epoch' : `sessions:epoch:${userId}`
}
