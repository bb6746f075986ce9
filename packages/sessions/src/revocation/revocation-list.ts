/**
 * The revoked tokens, sessions and users that every instance keeps in memory. A revocation is written
 * to the store and then published to all instances, so that a request needs no store call. While
 * messages may be missing, each request asks the store; if that fails, the request is refused.
 *
 * @see docs/adr/0502-epochs-and-pushed-revocation.md
 */
import { followSharedState, type Clock, type SharedState, type Store } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { Epochs, TokenEpochs } from './epochs.ts'
import { formatRevocation, parseRevocation, type Revocation } from './messages.ts'

/** The members of an access token that decide whether it is revoked. */
interface RevocableToken {
  readonly tokenId: string
  readonly sessionId: string
  readonly user: { readonly id: string }
  readonly epochs: TokenEpochs
}

/** See {@link createRevocationList}. */
export interface RevocationList {
  /** `pushed`: this instance knows every revocation. `checked`: messages may be missing. */
  readonly state: 'pushed' | 'checked'
  /** Subscribes and loads. Resolves when that succeeded or the first attempt failed. */
  start(): Promise<void>
  stop(): Promise<void>
  /** Revokes on this instance at once, then in the store and on the others. @throws the store's error */
  add(revocation: Revocation): Promise<void>
  /** Whether this instance knows that the token is revoked. Makes no store call. */
  isRevoked(token: RevocableToken): boolean
  /** Asks the store whether the token is revoked. @throws PARAPET_SESSIONS_UNAVAILABLE */
  askStore(token: RevocableToken): Promise<boolean>
}

/** What {@link createRevocationList} needs. */
export interface RevocationListSettings {
  readonly store: Store
  readonly epochs: Epochs
  readonly clock: Clock
  /** How long a revocation is kept, in milliseconds: at least the lifetime of an access token. */
  readonly keepMs: number
  /** The capacity of the set; when it is full, one epoch of the fleet replaces it. @default 100_000 */
  readonly maxMembers?: number
  /** Called when the state changes before `stop`, to be logged. */
  readonly onStateChange?: (state: RevocationList['state']) => void
  /** Failures in the background, to be logged. They are retried. */
  readonly onError?: (error: unknown) => void
}

interface Known {
  readonly epoch: number
  readonly expiresAt: number
}

/** The key of the set, and the name of the channel. */
const NAME = 'sessions:revocations'
const MAX_MEMBERS = 100_000
const USER_MARK = 'u '

/** Creates the list of one instance. It does nothing before `start`. */
export function createRevocationList(settings: RevocationListSettings): RevocationList {
  return new FollowedRevocationList(settings)
}

class FollowedRevocationList implements RevocationList {
  readonly #settings: RevocationListSettings
  readonly #shared: SharedState
  /** By revocation without its epoch, in the order in which they expire. */
  readonly #known = new Map<string, Known>()
  #fleetEpoch = 0
  #isStopped = false

  constructor(settings: RevocationListSettings) {
    this.#settings = settings
    const { store, clock, onStateChange, onError } = settings
    this.#shared = followSharedState({
      store,
      clock,
      channel: NAME,
      load: () => this.#load(),
      receive: (message) => this.#apply(message),
      share: (message) => this.#share(message),
      onStateChange: (isCurrent) => {
        if (!this.#isStopped) onStateChange?.(isCurrent ? 'pushed' : 'checked')
      },
      ...(onError === undefined ? undefined : { onError }),
    })
  }

  get state(): RevocationList['state'] {
    return this.#shared.isCurrent ? 'pushed' : 'checked'
  }

  start(): Promise<void> {
    return this.#shared.start()
  }

  stop(): Promise<void> {
    this.#isStopped = true
    return this.#shared.stop()
  }

  async add(revocation: Revocation): Promise<void> {
    const message = formatRevocation(revocation)
    this.#apply(message)
    await this.#shared.announce(message, this.#settings.keepMs)
  }

  isRevoked({ tokenId, sessionId, user, epochs }: RevocableToken): boolean {
    if (epochs.fleet < this.#fleetEpoch) return true
    if (this.#known.size === 0) return false
    if (this.#known.has(`t ${tokenId}`) || this.#known.has(`s ${sessionId}`)) return true
    return epochs.user < (this.#known.get(USER_MARK + user.id)?.epoch ?? 0)
  }

  async askStore(token: RevocableToken): Promise<boolean> {
    const { store, epochs } = this.#settings
    try {
      const [{ user, fleet }, isTokenRevoked, isSessionRevoked] = await Promise.all([
        epochs.read(token.user.id),
        store.hasMember(NAME, `t ${token.tokenId}`),
        store.hasMember(NAME, `s ${token.sessionId}`),
      ])
      if (isTokenRevoked || isSessionRevoked) return true
      // A store without an epoch of the fleet is new or has lost its data.
      if (fleet.tokens === 0) return true
      return token.epochs.user < user.tokens || token.epochs.fleet < fleet.tokens
    } catch (error) {
      throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
    }
  }

  async #share(message: string): Promise<void> {
    const { store, keepMs, maxMembers = MAX_MEMBERS } = this.#settings
    // The epoch of the fleet has its own key in the store.
    if (parseRevocation(message)?.kind !== 'fleet') {
      const { size } = await store.addMember(NAME, message, { ttlMs: keepMs, maxMembers })
      if (size >= maxMembers) await this.#replaceFullSet()
    }
    await store.publish(NAME, message)
  }

  /**
   * A full set would drop revocations, so one epoch of the fleet replaces all of them: every access
   * token becomes invalid, and every session is refreshed once.
   */
  async #replaceFullSet(): Promise<void> {
    const { store, epochs } = this.#settings
    // Delete first: tokens of a revocation that is deleted here are older than the epoch.
    await store.delete(NAME)
    await this.add({ kind: 'fleet', epoch: await epochs.advance(null, 'tokens') })
  }

  /** Loads all revocations, and writes back the epochs that the store has lost. */
  async #load(): Promise<void> {
    const { store, epochs } = this.#settings
    const [members, fleet] = await Promise.all([store.members(NAME), epochs.readFleet()])
    // Known revocations are kept: a store that lost its data must not make a token valid again.
    for (const member of members) this.#apply(member)
    if (fleet.tokens < this.#fleetEpoch) await epochs.restore(null, this.#fleetEpoch)
    // Without an epoch the store is new or has lost its data: no older token may be accepted.
    const isNew = this.#fleetEpoch === 0 && fleet.tokens === 0
    const epoch = isNew ? await epochs.begin() : fleet.tokens
    this.#fleetEpoch = Math.max(this.#fleetEpoch, epoch)
    for (const [name, { epoch: tokens }] of Array.from(this.#known)) {
      if (tokens > 0) await epochs.restore(name.slice(USER_MARK.length), tokens)
    }
  }

  /** Adds a revocation to the memory of this instance; ignores text of another form. */
  #apply(text: string): void {
    const now = this.#settings.clock.now()
    const revocation = parseRevocation(text)
    if (revocation?.kind === 'fleet') {
      this.#fleetEpoch = Math.max(this.#fleetEpoch, revocation.epoch)
    } else if (revocation?.kind === 'user') {
      this.#keep(USER_MARK + revocation.id, revocation.epoch, now)
    } else if (revocation !== null) this.#keep(text, 0, now)
    for (const [name, known] of this.#known) {
      if (known.expiresAt > now) break
      this.#known.delete(name)
    }
  }

  #keep(name: string, epoch: number, now: number): void {
    const known = this.#known.get(name)
    // Deleted and added again, so that the map stays in the order of expiry.
    this.#known.delete(name)
    this.#known.set(name, {
      epoch: Math.max(epoch, known?.epoch ?? 0),
      expiresAt: now + this.#settings.keepMs,
    })
  }
}
