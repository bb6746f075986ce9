/**
 * Revocations: what every instance must know of tokens that are still unexpired. Each is written to
 * the store first and pushed to all instances then, so that a request asks nobody. When messages may
 * be missing, each request asks the store instead, and when that fails it is refused.
 */
import type { Clock, Store } from '@parapet/kit'
import type { AccessToken } from './access-tokens.ts'
import type { Epochs } from './epochs.ts'
import { PARAPET_SESSIONS_UNAVAILABLE } from './errors.ts'

/** One thing revoked, before its lifetime ends. */
type Revocation =
  | { readonly kind: 'token' | 'session'; readonly id: string }
  | { readonly kind: 'user'; readonly id: string; readonly epoch: number }
  | { readonly kind: 'fleet'; readonly epoch: number }

/** See {@link createRevocations}. */
export interface Revocations {
  /** `pushed`: this instance knows all. `checked`: messages may be missing, so requests ask the store. */
  readonly state: 'pushed' | 'checked'
  /** Begins to listen. It resolves when everything is known, or when the store did not answer. */
  start(): Promise<void>
  stop(): Promise<void>
  /** Revokes: here at once, then in the store, then on every other instance. @throws the store's error */
  add(revocation: Revocation): Promise<void>
  /** Whether this instance knows the token to be revoked. No store is asked. */
  isRevoked(token: AccessToken): boolean
  /** Asks the store whether the token is revoked. @throws PARAPET_SESSIONS_UNAVAILABLE */
  askStore(token: AccessToken): Promise<boolean>
}

/** What {@link createRevocations} needs. */
export interface RevocationSettings {
  readonly store: Store
  readonly epochs: Epochs
  readonly clock: Clock
  /** How long a revocation must be remembered: as long as a token may live. In milliseconds. */
  readonly keepMs: number
  /** How many the set may hold before one epoch takes their place. @default 100_000 */
  readonly maxMembers?: number
}

interface Known {
  readonly epoch: number
  readonly expiresAt: number
}

/** Of the store, the channel and the set. */
const NAME = 'sessions:revocations'
const MAX_MEMBERS = 100_000
const RETRY_MS = 500
const USER_MARK = 'u '
/** What {@link write} writes. */
const FLEET = /^a (\d{1,16})$/
const USER = /^u (\d{1,16}) (.+)$/s
const ONE = /^[ts] [\w-]{22}$/

/** Makes the list of one instance. */
export function createRevocations(settings: RevocationSettings): Revocations {
  return new RevocationList(settings)
}

class RevocationList implements Revocations {
  readonly #to: RevocationSettings
  /** By member name without the epoch; in the order in which they expire. */
  readonly #known = new Map<string, Known>()
  /** What other instances could not be told, and until when it matters. */
  readonly #unshared = new Map<string, number>()
  #fleetEpoch = 0
  #state: Revocations['state'] = 'checked'
  #subscribed = false
  #unsubscribe: (() => Promise<void>) | undefined
  #cancelRetry: (() => void) | undefined
  #loading = 0
  #stopped = false

  constructor(settings: RevocationSettings) {
    this.#to = settings
  }

  get state(): Revocations['state'] {
    return this.#state
  }

  async start(): Promise<void> {
    try {
      this.#subscribed = true
      this.#unsubscribe ??= await this.#to.store.subscribe(NAME, {
        message: (message) => this.#learn(message),
        interrupted: () => {
          this.#subscribed = false
          this.#state = 'checked'
        },
        restored: () => {
          this.#subscribed = true
          void this.#load()
        },
      })
      if (this.#stopped) await this.#unsubscribe()
      else await this.#load()
    } catch {
      this.#retry()
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#state = 'checked'
    this.#cancelRetry?.()
    // The store may be gone by now, and the subscription with it.
    await this.#unsubscribe?.().catch(() => {})
  }

  async add(revocation: Revocation): Promise<void> {
    const message = write(revocation)
    this.#learn(message)
    try {
      await this.#share(message)
    } catch (error) {
      // The caller must know; but others shall hear of it in any case, as soon as that can be.
      this.#unshared.set(message, this.#to.clock.now() + this.#to.keepMs)
      this.#retry()
      throw error
    }
  }

  async #share(message: string): Promise<void> {
    const { store, keepMs, maxMembers = MAX_MEMBERS } = this.#to
    // The epoch of the fleet has a key of its own.
    if (!FLEET.test(message)) {
      const { size } = await store.addMember(NAME, message, { ttlMs: keepMs, maxMembers })
      if (size >= maxMembers) await this.#fold()
    }
    await store.publish(NAME, message)
  }

  /** A full set would forget: one epoch takes the place of all that is in it. Sessions go on. */
  async #fold(): Promise<void> {
    const { store, epochs } = this.#to
    // In this order a token of a revocation that is dropped here is older than the epoch.
    await store.delete(NAME)
    await this.add({ kind: 'fleet', epoch: await epochs.advance(null, 'tokens') })
  }

  isRevoked({ tokenId, sessionId, user, epochs }: AccessToken): boolean {
    if (epochs.fleet < this.#fleetEpoch) return true
    if (this.#known.size === 0) return false
    if (this.#known.has(`t ${tokenId}`) || this.#known.has(`s ${sessionId}`)) return true
    return epochs.user < (this.#known.get(USER_MARK + user.id)?.epoch ?? 0)
  }

  async askStore(token: AccessToken): Promise<boolean> {
    const { store, epochs } = this.#to
    try {
      const [{ user, fleet }, tokenRevoked, sessionRevoked] = await Promise.all([
        epochs.read(token.user.id),
        store.hasMember(NAME, `t ${token.tokenId}`),
        store.hasMember(NAME, `s ${token.sessionId}`),
      ])
      if (tokenRevoked || sessionRevoked) return true
      // A store without an epoch is new, or has forgotten what was revoked.
      if (fleet.tokens === 0) return true
      return token.epochs.user < user.tokens || token.epochs.fleet < fleet.tokens
    } catch (error) {
      throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
    }
  }

  /** Reads all there is, and gives back what a store that lost its data should know. */
  async #load(): Promise<void> {
    const turn = ++this.#loading
    try {
      const { store, epochs } = this.#to
      const [members, fleet] = await Promise.all([store.members(NAME), epochs.readFleet()])
      // What is known already stays known: a store that lost its data revives nothing.
      for (const member of members) this.#learn(member)
      if (fleet.tokens < this.#fleetEpoch) await epochs.restore(null, this.#fleetEpoch)
      // A store without an epoch is new, or has forgotten what was revoked: nothing older is believed.
      const epoch = this.#fleetEpoch + fleet.tokens === 0 ? await epochs.begin() : fleet.tokens
      this.#fleetEpoch = Math.max(this.#fleetEpoch, epoch)
      for (const [name, { epoch }] of Array.from(this.#known)) {
        if (epoch > 0) await epochs.restore(name.slice(USER_MARK.length), epoch)
      }
      // Only the last load that began may say that nothing is missing.
      if (turn === this.#loading && this.#subscribed && !this.#stopped) this.#state = 'pushed'
    } catch {
      this.#state = 'checked'
      this.#retry()
    }
  }

  #retry(): void {
    if (this.#stopped || this.#cancelRetry !== undefined) return
    this.#cancelRetry = this.#to.clock.schedule(RETRY_MS, () => {
      this.#cancelRetry = undefined
      void this.#repair()
    })
  }

  async #repair(): Promise<void> {
    const now = this.#to.clock.now()
    for (const [message, until] of this.#unshared) {
      try {
        if (until > now) await this.#share(message)
        this.#unshared.delete(message)
      } catch {
        this.#retry()
        break
      }
    }
    if (this.#unsubscribe === undefined) await this.start()
    else if (this.#state === 'checked' && this.#subscribed) await this.#load()
  }

  #learn(text: string): void {
    const now = this.#to.clock.now()
    const expiresAt = now + this.#to.keepMs
    // A text of another form is not ours, and must not make an epoch that nothing compares with.
    const fleet = FLEET.exec(text)?.[1]
    const [, epoch, userId] = USER.exec(text) ?? []
    if (fleet !== undefined) this.#fleetEpoch = Math.max(this.#fleetEpoch, Number(fleet))
    else if (userId !== undefined) this.#keep(USER_MARK + userId, Number(epoch), expiresAt)
    else if (ONE.test(text)) this.#keep(text, 0, expiresAt)
    for (const [name, known] of this.#known) {
      if (known.expiresAt > now) break
      this.#known.delete(name)
    }
  }

  #keep(name: string, epoch: number, expiresAt: number): void {
    const known = this.#known.get(name)
    // Put in anew, so that the map stays in the order of expiry.
    this.#known.delete(name)
    this.#known.set(name, { epoch: Math.max(epoch, known?.epoch ?? 0), expiresAt })
  }
}

/** How a revocation stands in the set and on the channel. */
function write(revocation: Revocation): string {
  if (revocation.kind === 'fleet') return `a ${revocation.epoch}`
  if (revocation.kind === 'user') return `u ${revocation.epoch} ${revocation.id}`
  return `${revocation.kind === 'token' ? 't' : 's'} ${revocation.id}`
}
