/** One call to Redis: within a deadline, and not at all while the circuit breaker is open. */
import type { Breaker, Clock, RedisClientLike } from '@parapet/kit'
import { Deadlines } from './deadlines.ts'
import type { Script } from './redis-script.ts'

/** Redis did not take part; the message says why, without addresses. */
class RedisAbsentError extends Error {
  override readonly name = 'RedisAbsentError'
}

/** What no request waits for may take longer. */
const BACKGROUND_MS = 1000
/** A shared client is reconnected at most this often. */
const RECONNECT_MS = 60_000
/** Why Redis refuses a call; older servers put it inside the message of the script. */
const REASON =
  /\b(?:OOM|NOPERM|NOAUTH|READONLY|MISCONF|MASTERDOWN|CLUSTERDOWN|LOADING|BUSY|NOREPLICAS)\b/

export class RedisExchange {
  readonly #client: RedisClientLike
  readonly #breaker: Breaker
  readonly #deadlines: Deadlines
  readonly #background: Deadlines
  readonly #clock: Clock
  #reconnectedAt = -Infinity
  /** Why the last call that failed did. */
  reason = 'the circuit breaker opened'
  readonly #onReady = (): void => this.#breaker.allowProbe()

  constructor(client: RedisClientLike, breaker: Breaker, deadlineMs: number, clock: Clock) {
    this.#client = client
    this.#breaker = breaker
    this.#clock = clock
    const deadlines = (ms: number): Deadlines =>
      new Deadlines(ms, clock, () => new RedisAbsentError(`no reply within ${ms} ms`))
    this.#deadlines = deadlines(deadlineMs)
    this.#background = deadlines(Math.max(deadlineMs, BACKGROUND_MS))
    client.on('ready', this.#onReady)
  }

  /** Waits until the client is connected, at most `waitMs`. */
  async connect(waitMs: number): Promise<void> {
    const client = this.#client
    if (client.status === 'wait') client.connect().catch(() => {})
    if (client.status === 'ready') return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        cancel()
        client.off('ready', done)
        resolve()
      }
      const cancel = this.#clock.schedule(waitMs, done)
      client.on('ready', done)
    })
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
    deadlines = this.#deadlines,
  ): Promise<unknown> {
    return this.#ask(
      deadlines,
      () => this.#client.call('EVALSHA', sha, keys.length, ...keys, ...args),
      (error) =>
        messageOf(error).startsWith('NOSCRIPT')
          ? this.#client.call('EVAL', source, keys.length, ...keys, ...args)
          : undefined,
    )
  }

  /** Runs a script for which no request waits. @throws RedisAbsentError */
  runInBackground(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    return this.run(script, keys, args, this.#background)
  }

  /** Runs a single command. @throws RedisAbsentError */
  command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.#ask(this.#deadlines, () => this.#client.call(name, ...args))
  }

  #ask(
    deadlines: Deadlines,
    send: () => Promise<unknown>,
    again?: (error: unknown) => Promise<unknown> | undefined,
  ): Promise<unknown> {
    if (!this.#breaker.tryEnter()) return absent('the circuit breaker is open')
    const { status } = this.#client
    if (status !== 'ready') {
      this.reason = `the connection is in status "${status}"`
      this.#breaker.trip()
      return absent(this.reason)
    }
    return deadlines.limit(send(), again).then(
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
      this.reason = error.message
      this.#breaker.fail()
      return error
    }
    // The first word of a reply is its kind; the text of a connection error holds addresses.
    const isReply = error instanceof Error && error.name === 'ReplyError'
    const message = messageOf(error)
    const kind = REASON.exec(message)?.[0] ?? message.split(' ', 1)[0]!
    this.reason = isReply ? kind : 'the connection was lost'
    if (isReply && kind === 'READONLY') {
      this.#breaker.trip()
      this.#reconnect()
    } else this.#breaker.fail()
    return new RedisAbsentError(this.reason, { cause: error })
  }

  /** Behind one address only a new connection reaches the new primary; but others use the client, too. */
  #reconnect(): void {
    const now = (this.#clock.monotonic ?? this.#clock.now)()
    if (Math.abs(now - this.#reconnectedAt) < RECONNECT_MS) return
    this.#reconnectedAt = now
    this.#client.disconnect(true)
  }
}

function absent(reason: string): Promise<never> {
  return Promise.reject(new RedisAbsentError(reason))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
