/** One call to Redis: within a deadline, and not at all while the circuit breaker is open. */
import { withDeadline, type Breaker, type Clock, type RedisClientLike } from '@parapet/kit'
import type { Script } from './redis-scripts.ts'

/** Redis did not take part; the message says why, without addresses. */
export class RedisAbsentError extends Error {
  override readonly name = 'RedisAbsentError'
}

export class RedisExchange {
  readonly #client: RedisClientLike
  readonly #breaker: Breaker
  readonly #deadlineMs: number
  readonly #clock: Clock
  readonly #onReady = (): void => this.#breaker.allowProbe()

  constructor(client: RedisClientLike, breaker: Breaker, deadlineMs: number, clock: Clock) {
    this.#client = client
    this.#breaker = breaker
    this.#deadlineMs = deadlineMs
    this.#clock = clock
    client.on('ready', this.#onReady)
  }

  close(): void {
    this.#client.off('ready', this.#onReady)
  }

  /**
   * Runs a script by its digest; a server that has lost the script gets its source.
   *
   * @throws RedisAbsentError at once while Redis is down, or by the deadline; then the outcome is unknown.
   */
  run(
    { source, sha }: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    return this.#ask(() =>
      this.#client.call('EVALSHA', sha, keys.length, ...keys, ...args).catch((error: unknown) => {
        if (!messageOf(error).startsWith('NOSCRIPT')) throw error
        return this.#client.call('EVAL', source, keys.length, ...keys, ...args)
      }),
    )
  }

  /** Runs a single command. @throws RedisAbsentError */
  command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.#ask(() => this.#client.call(name, ...args))
  }

  async #ask(send: () => Promise<unknown>): Promise<unknown> {
    if (!this.#breaker.tryEnter()) throw new RedisAbsentError('the circuit breaker is open')
    const { status } = this.#client
    if (status !== 'ready') {
      this.#breaker.trip()
      throw new RedisAbsentError(`the connection is in status "${status}"`)
    }
    const late = (): Error => new RedisAbsentError(`no reply within ${this.#deadlineMs} ms`)
    try {
      const reply = await withDeadline(send(), this.#deadlineMs, late, this.#clock)
      this.#breaker.succeed()
      return reply
    } catch (error) {
      throw this.#judge(error)
    }
  }

  #judge(error: unknown): Error {
    if (error instanceof RedisAbsentError) {
      this.#breaker.fail()
      return error
    }
    const message = messageOf(error)
    if (/\bREADONLY\b/.test(message)) {
      // Behind one address only a new connection reaches the new primary.
      this.#breaker.trip()
      this.#client.disconnect(true)
    } else this.#breaker.fail()
    // The first word of a reply is its kind; the text of a connection error holds addresses.
    const isReply = error instanceof Error && error.name === 'ReplyError'
    const kind = isReply ? message.split(' ', 1)[0] : 'the connection was lost'
    return new RedisAbsentError(kind, { cause: error })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
