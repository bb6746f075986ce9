/**
 * The queue of password hashes. Hashing fills the threads that also sign tokens and read files, so that
 * a few guessing clients would slow down every other request. Few hashes run at once, some wait, and
 * the rest is refused. The queue belongs to the process, as the threads do.
 *
 * A refusal is sent as late as the client may try again: a client that guesses as fast as it is answered
 * would otherwise fill the event loop with refusals.
 *
 * @see https://nodejs.org/api/cli.html#uv_threadpool_sizesize
 */
import { availableParallelism } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { PARAPET_SESSIONS_BUSY } from '../errors.ts'

/** The limits of the queue. */
export interface HashLimits {
  /** How many hashes run at once, 1 to 64. @default half of the processors, at most 2 */
  readonly maxRunning?: number | undefined
  /** How many wait, 0 to 10 000; beyond it a login gets 503. @default 50 */
  readonly maxWaiting?: number | undefined
}

/** A reading of the queue. */
export interface HashingState {
  readonly running: number
  readonly waiting: number
  /** How many were refused since the process started. */
  readonly refused: number
}

/** `Retry-After` of a refusal. */
const RETRY_SECONDS = 1
/** How many refusals wait; further ones are sent at once, so that they cannot fill the memory. */
const MAX_HELD = 1000

/** A queue with limits; {@link hashQueue} is that of the process. */
export class HashQueue {
  readonly #waiting: (() => void)[] = []
  #maxRunning: number
  #maxWaiting: number
  readonly #pause: (ms: number) => Promise<unknown>
  #running = 0
  #refused = 0
  #held = 0

  /** @param pause waits for some milliseconds; tests pass their own. */
  constructor(limits: HashLimits = {}, pause: (ms: number) => Promise<unknown> = setTimeout) {
    const { maxRunning, maxWaiting = 50 } = limits
    this.#pause = pause
    this.#maxRunning = maxRunning ?? defaultRunning()
    this.#maxWaiting = maxWaiting
  }

  get state(): HashingState {
    return { running: this.#running, waiting: this.#waiting.length, refused: this.#refused }
  }

  /** Changes the limits that are given. */
  configure({ maxRunning = this.#maxRunning, maxWaiting = this.#maxWaiting }: HashLimits): void {
    this.#maxRunning = maxRunning
    this.#maxWaiting = maxWaiting
  }

  /** Before the work that prepares a hash. @throws PARAPET_SESSIONS_BUSY too many are waiting. */
  async requireRoom(): Promise<void> {
    if (this.#isFull()) await this.#refuse()
  }

  /** Runs the work when it is its turn. @throws PARAPET_SESSIONS_BUSY too many are waiting. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isFull()) await this.#refuse()
    if (this.#running >= this.#maxRunning) {
      await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    } else this.#running++
    try {
      return await work()
    } finally {
      // The place passes to the next one, so that no newcomer takes it in between.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }

  #isFull(): boolean {
    return this.#running >= this.#maxRunning && this.#waiting.length >= this.#maxWaiting
  }

  async #refuse(): Promise<never> {
    this.#refused++
    if (this.#held < MAX_HELD) {
      this.#held++
      await this.#pause(RETRY_SECONDS * 1000).finally(() => this.#held--)
    }
    const headers = { 'retry-after': String(RETRY_SECONDS) }
    throw Object.assign(new PARAPET_SESSIONS_BUSY(), { headers })
  }
}

function defaultRunning(): number {
  return Math.max(1, Math.min(2, availableParallelism() >> 1))
}

/** The queue of this process. */
export const hashQueue = new HashQueue()
