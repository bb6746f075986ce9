/** One call to Redis: within a deadline, and not at all while the circuit breaker is open. */
import type { Breaker, Clock, RedisClientLike } from '@parapet/kit'
import { Deadlines } from './deadlines.ts'
import type { Script } from './redis-script.ts'

/** Redis did not take part; the message says why, without addresses. */
class RedisAbsentError extends Error {
  override readonly name = 'RedisAbsentError'
}

export class RedisExchange {
  readonly #client: RedisClientLike
  readonly #breaker: Breaker
  readonly #deadlines: Deadlines
  readonly #onReady = (): void => this.#breaker.allowProbe()

  constructor(client: RedisClientLike, breaker: Breaker, deadlineMs: number, clock: Clock) {
    this.#client = client
    this.#breaker = breaker
    const late = (): Error => new RedisAbsentError(`no reply within ${deadlineMs} ms`)
    this.#deadlines = new Deadlines(deadlineMs, clock, late)
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

  #ask(send: () => Promise<unknown>): Promise<unknown> {
    if (!this.#breaker.tryEnter()) return absent('the circuit breaker is open')
    const { status } = this.#client
    if (status !== 'ready') {
      this.#breaker.trip()
      return absent(`the connection is in status "${status}"`)
    }
    return this.#deadlines.limit(send()).then(
      (reply) => {
        this.#breaker.succeed()
        return reply
      },
      (error: unknown) => {
        throw this.#judge(error)
      },
    )
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

function absent(reason: string): Promise<never> {
  return Promise.reject(new RedisAbsentError(reason))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
