/** One call to Redis: deadline, circuit breaker, and errors with codes. */
import type { Breaker } from './breaker.ts'
import type { Clock } from '../time/clock.ts'
import { withDeadline } from '../time/deadline.ts'
import {
  PARAPET_KIT_STORE_FAILED,
  PARAPET_KIT_STORE_FULL,
  PARAPET_KIT_STORE_TIMEOUT,
  PARAPET_KIT_STORE_UNAVAILABLE,
} from '../errors.ts'
import type { RedisScript } from './redis-scripts.ts'

/** The part of an ioredis client or cluster that is used. */
export interface RedisClientLike {
  readonly status: string
  readonly options?: { readonly keyPrefix?: string | undefined }
  call(command: string, ...args: (string | number)[]): Promise<unknown>
  duplicate(): RedisClientLike
  connect(): Promise<unknown>
  disconnect(reconnect?: boolean): void
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  on(event: string, listener: (...args: string[]) => void): unknown
  off(event: string, listener: (...args: string[]) => void): unknown
}

/** Error replies of a server that serves nobody now: they count as failures. */
const UNAVAILABLE = /^(LOADING|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|BUSY|NOAUTH)\b/

/** Error replies of a server that refuses writes only: it still answers reads. */
const UNWRITABLE = /^(NOREPLICAS|MISCONF)\b/

const FULL_REDIS = 'Redis has no memory left: raise "maxmemory" or find what fills it'

/** Statuses from which a connection soon becomes ready by itself. */
const STARTING = new Set(['wait', 'connecting', 'connect'])

export class RedisExchange {
  readonly #client: RedisClientLike
  readonly #breaker: Breaker
  readonly #deadlineMs: number
  readonly #clock: Clock
  readonly #onReady = (): void => this.#breaker.allowProbe()
  /** After a READONLY reply: the address still leads to a replica, as during a failover. */
  #isReplica = false
  /** The wait for the connection, shared by all calls that are made before it is ready. */
  #starting: Promise<void> | undefined
  #closed = false

  constructor(client: RedisClientLike, breaker: Breaker, deadlineMs: number, clock: Clock) {
    this.#client = client
    this.#breaker = breaker
    this.#deadlineMs = deadlineMs
    this.#clock = clock
    client.on('ready', this.#onReady)
  }

  /** @throws STORE_TIMEOUT, STORE_UNAVAILABLE or STORE_FAILED. */
  command(name: string, ...args: (string | number)[]): Promise<unknown> {
    return this.#ask(() => this.#client.call(name, ...args))
  }

  /** Runs a script on one key by its digest; a server that has lost the script gets its source. */
  script(
    { source, sha }: RedisScript,
    key: string,
    ...args: (string | number)[]
  ): Promise<unknown> {
    return this.#ask(() =>
      this.#client.call('EVALSHA', sha, 1, key, ...args).catch((error: unknown) => {
        if (!messageOf(error).startsWith('NOSCRIPT')) throw error
        return this.#client.call('EVAL', source, 1, key, ...args)
      }),
    )
  }

  close(): void {
    this.#closed = true
    this.#client.off('ready', this.#onReady)
  }

  #ask(send: () => Promise<unknown>): Promise<unknown> {
    if (this.#closed) return refused('it is closed')
    if (!this.#breaker.tryEnter()) return refused('the circuit breaker is open')
    const { status } = this.#client
    if (status !== 'ready' && !STARTING.has(status)) {
      this.#breaker.fail()
      return refused(`the connection is in status "${status}"`)
    }
    const ready = status === 'ready' ? undefined : this.#whenReady()
    return this.#exchange(async () => {
      await ready
      if (this.#isReplica) await this.#requirePrimary()
      return send()
    })
  }

  /** A replica answers reads with old data, so nothing is sent until the address leads to a primary. */
  async #requirePrimary(): Promise<void> {
    const role = await this.#client.call('INFO', 'replication')
    if (/^role:slave/m.test(String(role))) throw new ReplicaError()
    this.#isReplica = false
  }

  async #exchange(send: () => Promise<unknown>): Promise<unknown> {
    try {
      const reply = await this.#within(send())
      this.#breaker.succeed()
      return reply
    } catch (error) {
      throw this.#judge(error)
    }
  }

  /** Waits until the connection is ready, without the client's own queue of unsent commands. */
  #whenReady(): Promise<void> {
    this.#starting ??= this.#start().finally(() => (this.#starting = undefined))
    return this.#starting
  }

  async #start(): Promise<void> {
    let settle!: () => void
    const settled = new Promise<void>((resolve) => (settle = resolve))
    this.#client.on('ready', settle)
    this.#client.on('close', settle)
    // A failure arrives as 'close'.
    if (this.#client.status === 'wait') this.#client.connect().catch(() => {})
    try {
      await this.#within(settled)
    } finally {
      this.#client.off('ready', settle)
      this.#client.off('close', settle)
    }
    if (this.#client.status !== 'ready') throw new Error('the connection could not be made')
  }

  #within<T>(answer: Promise<T>): Promise<T> {
    const deadlineMs = this.#deadlineMs
    const late = (): Error => new PARAPET_KIT_STORE_TIMEOUT(deadlineMs)
    return withDeadline(answer, deadlineMs, late, this.#clock)
  }

  #judge(error: unknown): Error {
    if (error instanceof PARAPET_KIT_STORE_TIMEOUT) {
      this.#breaker.fail()
      return error
    }
    const message = messageOf(error)
    if (error instanceof ReplicaError || message.startsWith('READONLY')) {
      this.#isReplica = true
      this.#breaker.trip()
      // Behind one address only a new connection reaches the new primary.
      this.#client.disconnect(true)
      return new PARAPET_KIT_STORE_UNAVAILABLE('READONLY', { cause: error })
    }
    const answered = error instanceof Error && error.name === 'ReplyError'
    if (answered && !UNAVAILABLE.test(message)) {
      this.#breaker.succeed()
      if (message.startsWith('OOM')) return new PARAPET_KIT_STORE_FULL(FULL_REDIS, { cause: error })
      if (UNWRITABLE.test(message)) return unavailable(message, error)
      const reason = message.startsWith('WRONGTYPE')
        ? 'the key holds another kind of value'
        : message.replace(/^ERR /, '')
      return new PARAPET_KIT_STORE_FAILED(reason, { cause: error })
    }
    this.#breaker.fail()
    return unavailable(answered ? message : undefined, error)
  }
}

/** Tells only the first word of a reply, and nothing of a connection error: its text holds addresses. */
function unavailable(reply: string | undefined, cause: unknown): Error {
  const reason = reply === undefined ? 'the connection was lost' : reply.split(' ', 1)[0]
  return new PARAPET_KIT_STORE_UNAVAILABLE(reason, { cause })
}

/** The address leads to a replica. */
class ReplicaError extends Error {
  override readonly name = 'ReplicaError'
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function refused(reason: string): Promise<never> {
  return Promise.reject(new PARAPET_KIT_STORE_UNAVAILABLE(reason))
}
