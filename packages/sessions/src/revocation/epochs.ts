/**
 * Epochs: one number for each user and one for the whole fleet, which only grow. A token or session
 * that is older than its epoch is invalid, whatever the clocks of the instances say.
 *
 * @see docs/adr/0502-epochs-and-pushed-revocation.md, docs/adr/0505-lost-epochs.md
 */
import { updateText, type Store } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { NONE, openedEpoch, parseEpoch, formatEpoch, type Epoch, type EpochPair } from './epoch.ts'
import type { KnownEpochs } from './known-revocations.ts'

/** What a new epoch ends. `others` are the sessions of a user except one. */
type EndedByEpoch = 'tokens' | 'sessions' | { readonly others: string }

/** See {@link createEpochs}. Every method rejects with the store's error. */
export interface Epochs {
  /**
   * The epochs now. An epoch that the store lost, but this instance knows, is written back first.
   *
   * @throws PARAPET_SESSIONS_UNAVAILABLE the stored text is not an epoch.
   */
  read(userId: string): Promise<EpochPair>
  /** The epochs as they are stored. @throws PARAPET_SESSIONS_UNAVAILABLE */
  readStored(userId: string): Promise<EpochPair>
  /**
   * {@link Epochs.read} at the start of a session. The user gets an epoch if there is none, and the
   * epoch is kept at least as long as the session that starts.
   */
  open(userId: string): Promise<EpochPair>
  readFleet(): Promise<Epoch>
  /** Starts the first epoch of the fleet if there is none. @returns the current number */
  begin(): Promise<number>
  /**
   * Starts a new epoch.
   *
   * @param userId `null` for the whole fleet.
   * @returns the number that valid tokens carry from now on.
   */
  advance(userId: string | null, ends: EndedByEpoch): Promise<number>
  /**
   * Writes an epoch back into a store that lost it. Otherwise new tokens would carry a smaller
   * number than the instances require.
   */
  restore(userId: string | null, tokens: number): Promise<Epoch>
}

/** Ten years, in milliseconds. If the epoch of the fleet expired, every new token would be invalid. */
const FLEET_TTL_MS = 315_360_000_000
const NOTHING_KNOWN: KnownEpochs = { fleet: 0, userEpoch: () => 0 }

/**
 * @param keepMs how long the epoch of a user is kept after a session started, in milliseconds: at
 *   least a session's lifetime.
 * @param known what this instance knows. @default nothing
 */
export function createEpochs(
  store: Store,
  now: () => number,
  keepMs: number,
  known: KnownEpochs = NOTHING_KNOWN,
): Epochs {
  const stored = async (userId: string | null): Promise<Epoch> =>
    parseEpoch(await store.get(keyOf(userId)))

  /** @param next returns the same object to change nothing; a changed one is kept for `keepMs`. */
  function change(userId: string | null, next: (epoch: Epoch) => Epoch): Promise<Epoch> {
    const ttlMs = userId === null ? FLEET_TTL_MS : keepMs
    return updateText<Epoch>(
      store,
      keyOf(userId),
      (text) => {
        const epoch = parseEpoch(text)
        const changed = next(epoch)
        if (changed === epoch) return { result: epoch }
        return { next: formatEpoch(changed), ttlMs, result: changed }
      },
      () => new PARAPET_SESSIONS_UNAVAILABLE(),
    )
  }

  function restore(userId: string | null, tokens: number): Promise<Epoch> {
    // It is unknown which sessions had ended, so all that began before have.
    const lost: Epoch = { tokens, sessions: tokens, kept: null }
    return change(userId, (epoch) => (epoch.tokens < tokens ? lost : epoch))
  }

  function readOne(userId: string | null, epoch: Epoch): Epoch | Promise<Epoch> {
    const least = userId === null ? known.fleet : known.userEpoch(userId)
    return epoch.tokens < least ? restore(userId, least) : epoch
  }

  async function pairOf(userId: string, user: Promise<Epoch>): Promise<EpochPair> {
    const [ofUser, ofFleet] = await Promise.all([user, stored(null)])
    return { user: await readOne(userId, ofUser), fleet: await readOne(null, ofFleet) }
  }

  return {
    read: (userId) => pairOf(userId, stored(userId)),
    async readStored(userId) {
      const [user, fleet] = await Promise.all([stored(userId), stored(null)])
      return { user, fleet }
    },
    open: (userId) =>
      pairOf(
        userId,
        change(userId, (epoch) => openedEpoch(epoch, now())),
      ),
    readFleet: () => stored(null),
    async begin() {
      const { tokens } = await change(null, (epoch) =>
        epoch.tokens === 0 ? openedEpoch(NONE, now()) : epoch,
      )
      return tokens
    },
    async advance(userId, ends) {
      const { tokens } = await change(userId, (epoch) => advanced(epoch, ends, now()))
      return tokens
    },
    restore,
  }
}

/** @param now so that the number of an expired epoch is not used again. */
function advanced(epoch: Epoch, ends: EndedByEpoch, now: number): Epoch {
  const next = Math.max(now, epoch.tokens + 1, epoch.sessions + 1)
  if (ends === 'tokens') return { ...epoch, tokens: next }
  if (ends === 'sessions') return { tokens: next, sessions: next, kept: null }
  return { tokens: epoch.tokens, sessions: next, kept: ends.others }
}

function keyOf(userId: string | null): string {
  return userId === null ? 'sessions:epoch' : `sessions:epoch:${userId}`
}
