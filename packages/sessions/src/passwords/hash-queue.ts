/**
 * The queue of password hashes. Hashing fills the threads that also sign tokens and read files, so that
 * a few guessing clients would slow down every other request. Few hashes run at once, some wait, and
 * the rest is refused. The queue belongs to the process, as the threads do.
 *
 * @see https://nodejs.org/api/cli.html#uv_threadpool_sizesize
 */
import { availableParallelism } from 'node:os'
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

/** A queue with limits; {@link hashQueue} is that of the process. */
export class HashQueue {
  readonly #waiting: (() => void)[] = []
  #maxRunning: number
  #maxWaiting: number
  #running = 0
  #refused = 0

  constructor(limits: HashLimits = {}) {
    const { maxRunning, maxWaiting = 50 } = limits
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

  /** Runs the work when it is its turn. @throws PARAPET_SESSIONS_BUSY too many are waiting. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#maxRunning) await this.#wait()
    else this.#running++
    try {
      return await work()
    } finally {
      // The place passes to the next one, so that no newcomer takes it in between.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }

  #wait(): Promise<void> {
    if (this.#waiting.length >= this.#maxWaiting) {
      this.#refused++
      throw Object.assign(new PARAPET_SESSIONS_BUSY(), { headers: { 'retry-after': '1' } })
    }
    return new Promise((resolve) => void this.#waiting.push(resolve))
  }
}

function defaultRunning(): number {
  return Math.max(1, Math.min(2, availableParallelism() >> 1))
}

/** The queue of this process. */
export const hashQueue = new HashQueue()
