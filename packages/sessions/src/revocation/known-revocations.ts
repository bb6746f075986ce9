/** The revocations that one instance knows, in its memory. */
import { formatRevocation, parseRevocation, type Revocation } from './messages.ts'

/** The newest epochs that an instance knows; 0 where it knows none. */
export interface KnownEpochs {
  readonly fleet: number
  userEpoch(userId: string): number
}

interface Known {
  /** 0 for a token or a session. */
  readonly epoch: number
  readonly expiresAt: number
  /** The epoch of the fleet when it became known. */
  readonly fleet: number
}

const USER_MARK = 'u '

/** See the file comment. Nothing in it is forgotten before `keepMs`. */
export class KnownRevocations implements KnownEpochs {
  /** By revocation without its epoch, in the order in which they expire. */
  readonly #known = new Map<string, Known>()
  readonly #now: () => number
  readonly #keepMs: number
  #fleet = 0

  /** @param keepMs at least the lifetime of an access token, in milliseconds. */
  constructor(now: () => number, keepMs: number) {
    this.#now = now
    this.#keepMs = keepMs
  }

  get fleet(): number {
    return this.#fleet
  }

  userEpoch(userId: string): number {
    return this.#known.size === 0 ? 0 : (this.#known.get(USER_MARK + userId)?.epoch ?? 0)
  }

  /** Whether a token or a session is revoked by its id. */
  hasId(tokenId: string, sessionId: string): boolean {
    if (this.#known.size === 0) return false
    return this.#known.has(`t ${tokenId}`) || this.#known.has(`s ${sessionId}`)
  }

  /** Learns the text of a revocation. @returns the revocation if it is news, otherwise `null` */
  learn(text: string): Revocation | null {
    const now = this.#now()
    const revocation = parseRevocation(text)
    const isNews = revocation !== null && this.#keep(revocation, text, now)
    for (const [name, { expiresAt }] of this.#known) {
      if (expiresAt > now) break
      this.#known.delete(name)
    }
    return isNews ? revocation : null
  }

  /** The users whose epoch is known, with that epoch. */
  *userEpochs(): Generator<[userId: string, epoch: number]> {
    for (const [name, { epoch }] of this.#known) {
      if (epoch > 0) yield [name.slice(USER_MARK.length), epoch]
    }
  }

  /** The revocations that an epoch of the fleet has not replaced, and how long each still matters. */
  *current(): Generator<[text: string, leftMs: number]> {
    const now = this.#now()
    for (const [name, { epoch, expiresAt, fleet }] of this.#known) {
      if (fleet !== this.#fleet || expiresAt <= now) continue
      const id = name.slice(USER_MARK.length)
      yield [epoch > 0 ? formatRevocation({ kind: 'user', id, epoch }) : name, expiresAt - now]
    }
  }

  #keep(revocation: Revocation, text: string, now: number): boolean {
    if (revocation.kind === 'fleet') {
      const isNews = revocation.epoch > this.#fleet
      if (isNews) this.#fleet = revocation.epoch
      return isNews
    }
    const [name, epoch] =
      revocation.kind === 'user' ? [USER_MARK + revocation.id, revocation.epoch] : [text, 0]
    const known = this.#known.get(name)
    // Deleted and added again, so that the map stays in the order of expiry.
    this.#known.delete(name)
    this.#known.set(name, {
      epoch: Math.max(epoch, known?.epoch ?? 0),
      expiresAt: now + this.#keepMs,
      fleet: this.#fleet,
    })
    return known === undefined || epoch > known.epoch
  }
}
