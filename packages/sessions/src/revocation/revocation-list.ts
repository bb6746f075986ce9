/**
 * The revoked tokens, sessions and users that every instance keeps in memory. A revocation is written
 * to the store and then published to all instances, so that a request needs no store call. While
 * messages may be missing, each request asks the store; if that fails, the request is refused.
 *
 * @see docs/adr/0502-epochs-and-pushed-revocation.md
 */
import { followSharedState, type Clock, type SharedState, type Store } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { TokenEpochs } from './epoch.ts'
import type { Epochs } from './epochs.ts'
import { KnownRevocations } from './known-revocations.ts'
import { formatRevocation, parseRevocation, type Revocation } from './messages.ts'

/** The members of an access token that decide whether it is revoked. */
export interface RevocableToken {
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
  /** The memory that `epochs` uses as well. @default one of its own */
  readonly known?: KnownRevocations
  /** The capacity of the set; when it is full, one epoch of the fleet replaces it. @default 100_000 */
  readonly maxMembers?: number
  /** Called when the state changes before `stop`, to be logged. */
  readonly onStateChange?: (state: RevocationList['state']) => void
  /** Called for each revocation that becomes known to this instance. */
  readonly onRevoked?: (revocation: Revocation) => void
  /** Failures in the background, to be logged. They are retried. */
  readonly onError?: (error: unknown) => void
}

/** The key of the set, and the name of the channel. */
const NAME = 'sessions:revocations'
const MAX_MEMBERS = 100_000
/** A member of the set that never expires: without it, the store lost the set. */
const CANARY = 'complete'
const CANARY_TTL_MS = 315_360_000_000

/** Creates the list of one instance. It does nothing before `start`. */
export function createRevocationList(settings: RevocationListSettings): RevocationList {
  return new FollowedRevocationList(settings)
}

class FollowedRevocationList implements RevocationList {
  readonly #settings: RevocationListSettings
  readonly #shared: SharedState
  readonly #known: KnownRevocations
  #isStopped = false

  constructor(settings: RevocationListSettings) {
    this.#settings = settings
    const { store, clock, keepMs, onStateChange, onError } = settings
    this.#known = settings.known ?? new KnownRevocations(clock.now, keepMs)
    this.#shared = followSharedState({
      store,
      clock,
      channel: NAME,
      load: () => this.#load(),
      receive: (message) => this.#learn(message),
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
    this.#learn(message)
    await this.#shared.announce(message, this.#settings.keepMs)
  }

  isRevoked({ tokenId, sessionId, user, epochs }: RevocableToken): boolean {
    const known = this.#known
    if (epochs.fleet < known.fleet || known.hasId(tokenId, sessionId)) return true
    return epochs.user < known.userEpoch(user.id)
  }

  async askStore(token: RevocableToken): Promise<boolean> {
    const { store, epochs } = this.#settings
    try {
      const [{ user, fleet }, isTokenRevoked, isSessionRevoked] = await Promise.all([
        epochs.readStored(token.user.id),
        store.hasMember(NAME, `t ${token.tokenId}`),
        store.hasMember(NAME, `s ${token.sessionId}`),
      ])
      if (isTokenRevoked || isSessionRevoked) return true
      // The store lost its data and cannot tell until they are written back.
      if (fleet.tokens < this.#known.fleet) {
        this.#shared.reload().catch((error: unknown) => this.#settings.onError?.(error))
        throw new PARAPET_SESSIONS_UNAVAILABLE()
      }
      // A store without an epoch of the fleet is new.
      if (fleet.tokens === 0) return true
      // An epoch that is older than the token was lost and begun again.
      return token.epochs.user !== user.tokens || token.epochs.fleet !== fleet.tokens
    } catch (error) {
      throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
    }
  }

  async #share(message: string): Promise<void> {
    const { store, keepMs, maxMembers = MAX_MEMBERS } = this.#settings
    // The epoch of the fleet has its own key in the store.
    if (parseRevocation(message)?.kind !== 'fleet') {
      const { size } = await store.addMember(NAME, message, { ttlMs: keepMs, maxMembers })
      if (size >= maxMembers) await this.#replaceSet()
    }
    await store.publish(NAME, message)
  }

  /**
   * A full set would drop revocations, and a lost one has dropped them. So one epoch of the fleet
   * replaces all of them: every access token becomes invalid, and every session is refreshed once.
   */
  async #replaceSet(): Promise<void> {
    const { store, epochs } = this.#settings
    // Delete first: tokens of a revocation that is deleted here are older than the epoch.
    await store.delete(NAME)
    await this.#addCanary()
    await this.add({ kind: 'fleet', epoch: await epochs.advance(null, 'tokens') })
  }

  async #addCanary(): Promise<void> {
    const { store, maxMembers = MAX_MEMBERS } = this.#settings
    await store.addMember(NAME, CANARY, { ttlMs: CANARY_TTL_MS, maxMembers })
  }

  /** Loads all revocations, and writes back what the store has lost. */
  async #load(): Promise<void> {
    const { store, epochs } = this.#settings
    // In this order: where another instance has begun the first epoch, it has added the canary.
    const fleet = await epochs.readFleet()
    const members = await store.members(NAME)
    const known = this.#known.fleet
    // Known revocations are kept: a store that lost its data must not make a token valid again.
    for (const member of members) this.#learn(member)
    this.#learn(formatRevocation({ kind: 'fleet', epoch: fleet.tokens }))
    await this.#writeBack(new Set(members))
    // Last, because it tells the other instances that the store has all data again.
    if (fleet.tokens < known) await epochs.restore(null, known)
    // An instance that has just started cannot write back what the store has lost.
    if (known > 0) return
    if (fleet.tokens === 0) {
      await this.#addCanary()
      await this.add({ kind: 'fleet', epoch: await epochs.begin() })
    } else if (!members.includes(CANARY)) await this.#replaceSet()
  }

  async #writeBack(stored: ReadonlySet<string>): Promise<void> {
    const { store, epochs, maxMembers = MAX_MEMBERS } = this.#settings
    for (const [userId, epoch] of Array.from(this.#known.userEpochs())) {
      await epochs.restore(userId, epoch)
    }
    for (const [text, ttlMs] of Array.from(this.#known.current())) {
      if (stored.has(text)) continue
      await store.addMember(NAME, text, { ttlMs, maxMembers })
      await store.publish(NAME, text)
    }
    if (!stored.has(CANARY) && this.#known.fleet > 0) await this.#addCanary()
  }

  /** Adds a revocation to the memory of this instance; ignores text of another form. */
  #learn(text: string): void {
    const revocation = this.#known.learn(text)
    if (revocation !== null) this.#settings.onRevoked?.(revocation)
  }
}
