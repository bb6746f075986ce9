/** One of the processes of races: told what to attempt, it says it is ready, waits, and runs. */
import { createInterface } from 'node:readline/promises'
import { createManualClock, createRedisStore } from '@parapet/kit'
import { mfa } from '@parapet/mfa'
import Fastify from 'fastify'
import { Redis } from 'ioredis'

export interface Setup {
  readonly redisUrl: string
  readonly prefix: string
  readonly keys: string
  /** When the race is, for all: however slow the machine, no step ends in between. */
  readonly now: number
}

export interface Race {
  readonly racers: number
  readonly user: string
  /** Every racer is a user of its own, all at this address. */
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

async function once({ attempt, user, ip }: Race, racer: number): Promise<string> {
  try {
    if (ip !== undefined && attempt.kind === 'verify') {
      await app.mfa.verify(`${user}-${process.pid}-${racer}`, attempt.code, { ip })
    } else if (attempt.kind === 'verify') await app.mfa.verify(user, attempt.code)
    else if (attempt.kind === 'passkey') await app.mfa.passkeys.verify(user, attempt.response)
    else await app.mfa.totp.confirm(user, attempt.ticket, attempt.code)
    return 'ok'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

for (let race = await read<Race>(); race !== null; race = await read<Race>()) {
  const { racers, user } = race
  await app.mfa.status(user)
  console.log('ready')
  await read()
  const attempts = Array.from({ length: racers }, (_, racer) => once(race, racer))
  console.log(JSON.stringify(await Promise.all(attempts)))
}
await app.close()
await store.close()
client.disconnect()
