/** A child process of the concurrency tests: reads a race, prints `ready`, waits, and attempts. */
import { createInterface } from 'node:readline/promises'
import { createManualClock, createRedisStore } from '@parapet/kit'
import { mfa } from '@parapet/mfa'
import Fastify from 'fastify'
import { Redis } from 'ioredis'

export interface Setup {
  readonly redisUrl: string
  readonly prefix: string
  readonly keys: string
  /** The time for all processes, so that no time step ends during a race on a slow machine. */
  readonly now: number
}

export interface Race {
  /** Concurrent attempts per process. */
  readonly attempts: number
  readonly user: string
  /** If set, every attempt is of another user, and all come from this address. */
  readonly ip?: string
  readonly attempt:
    | { readonly kind: 'verify'; readonly code: string }
    | { readonly kind: 'confirm'; readonly ticket: string; readonly code: string }
    | { readonly kind: 'passkey'; readonly response: object }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const read = async <T>(): Promise<T | null> => {
  const line = (await lines.next()) as IteratorResult<string, undefined>
  return line.done === true ? null : (JSON.parse(line.value) as T)
}

const setup = (await read<Setup>())!
const client = new Redis(setup.redisUrl)
const store = createRedisStore({ client, prefix: setup.prefix, deadlineMs: 20_000 })
const app = Fastify()
const passkeys = { rpId: 'example.org', origins: ['https://example.org'] }
const clock = createManualClock(setup.now)
await app.register(mfa, { issuer: 'Acme', keys: setup.keys, store, passkeys, clock })

async function once({ attempt, user, ip }: Race, index: number): Promise<string> {
  try {
    if (ip !== undefined && attempt.kind === 'verify') {
      await app.mfa.verify(`${user}-${process.pid}-${index}`, attempt.code, { ip })
    } else if (attempt.kind === 'verify') await app.mfa.verify(user, attempt.code)
    else if (attempt.kind === 'passkey') await app.mfa.passkeys.verify(user, attempt.response)
    else await app.mfa.totp.confirm(user, attempt.ticket, attempt.code)
    return 'ok'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

for (let race = await read<Race>(); race !== null; race = await read<Race>()) {
  const { attempts, user } = race
  await app.mfa.status(user)
  console.log('ready')
  await read()
  const results = Array.from({ length: attempts }, (_, index) => once(race, index))
  console.log(JSON.stringify(await Promise.all(results)))
}
await app.close()
await store.close()
client.disconnect()
