/** Passwords: hashing, and a check that takes the same work for every account. */
import { randomInt } from 'node:crypto'
import { hash, verify } from '@node-rs/argon2'
import {
  createPasswordCheck,
  hashPassword,
  needsRehash,
  verifyPassword,
  type CredentialCheck,
  type PasswordAccount,
} from '@parapet/sessions'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import t from 'tap'
import type { Argon2 } from '../src/passwords/hash-password.ts'
import { HashQueue } from '../src/passwords/hash-queue.ts'
import { createCheck } from '../src/passwords/password-check.ts'
import { reader } from './build.ts'

const WEAK = { memoryCost: 64, timeCost: 1, parallelism: 1 }

await t.test('a password is hashed with argon2id, after normalization to NFKC', async (t) => {
  const text = await hashPassword('Pässwörd ﬁ')
  t.match(text, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  t.equal(
    await verifyPassword(text, 'Pa\u0308sswörd fi'),
    true,
    'the same text in another normalization form',
  )
  t.equal(await verifyPassword(text, 'Password fi'), false)
  t.equal(needsRehash(text), false)
  const long = 'x'.repeat(100_000)
  t.equal(
    await verifyPassword(await hashPassword(`${long}a`), `${long}b`),
    false,
    'every character of a long password counts',
  )
  const nul = await hashPassword('a\0b')
  t.equal(await verifyPassword(nul, 'a\0c'), false, 'characters after U+0000 count')
})

await t.test('a stored text that is not a hash, or is too expensive, never matches', async (t) => {
  const good = await hash('x', WEAK)
  const tail = good.slice(good.indexOf('$m=') + '$m=64,t=1,p=1'.length)
  const broken = [
    '',
    'x',
    '$2b$12$abc',
    `$argon2i$v=19$m=64,t=1,p=1${tail}`,
    `$argon2id$v=16$m=64,t=1,p=1${tail}`,
    `$argon2id$v=19$m=4194304,t=1,p=1${tail}`,
    `$argon2id$v=19$m=262145,t=1,p=1${tail}`,
    `$argon2id$v=19$m=64,t=17,p=1${tail}`,
    `$argon2id$v=19$m=64,t=0,p=1${tail}`,
    `$argon2id$v=19$m=64,t=1,p=0${tail}`,
    `$argon2id$v=19$m=7,t=1,p=1${tail}`,
    `$argon2id$v=19$m=64,t=1,p=9${tail}`,
    `$argon2id$v=19$m=064,t=1,p=1${tail}`,
    `$argon2id$v=19$m=64,t=1,p=1${tail.replace('$', '$_')}`,
    `$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQx1$${'A'.repeat(43)}`,
    `${good}\n`,
  ]
  t.equal(await verifyPassword(good, 'x'), true)
  for (const text of broken) {
    t.equal(await verifyPassword(text, 'x'), false, text)
    t.equal(needsRehash(text), true)
  }
})

const base64 = (maxLength: number) =>
  fc.string({ unit: fc.constantFrom('A', 'Z', 'a', 'z', '0', '+', '/'), minLength: 8, maxLength })
const storedText = fc
  .tuple(fc.nat(99), fc.nat(3), fc.nat(9), base64(70), base64(95))
  .map(([m, passes, lanes, salt, tag]) => {
    return `$argon2id$v=19$m=${m},t=${passes},p=${lanes}$${salt}$${tag}`
  })

await t.test('no text in the form of a hash makes the check throw', async (t) => {
  const refused = fc.asyncProperty(storedText, async (text) => !(await verifyPassword(text, 'x')))
  await fc.assert(refused, { numRuns: runs(300, 20_000) })
  t.pass()
})

await t.test('a login replaces a weaker hash', async (t) => {
  const old = await hash('right', WEAK)
  const saved: string[] = []
  const check = createPasswordCheck({
    findAccount: async () => ({ user: reader, passwordHash: old }),
    saveHash: async (...given) => void saved.push(...given),
  })
  t.equal(await check({ login: 'a', password: 'wrong' }), null)
  t.same(saved, [])
  t.match(await check({ login: 'a', password: 'right' }), { id: 'user-1', amr: ['pwd'] })
  const [id, renewed, previous] = saved
  t.same([id, previous], ['user-1', old], 'with the hash that may be replaced')
  t.equal(await verifyPassword(renewed!, 'right'), true)
  t.equal(needsRehash(renewed!), false)
})

/** The library, and the work it did: KiB of memory times passes. */
function counted(): { argon2: Argon2; take: () => number } {
  let work = 0
  const argon2: Argon2 = {
    hash(password, options, signal) {
      work += options!.memoryCost! * options!.timeCost!
      return hash(password, options, signal)
    },
    verify(stored, password, options, signal) {
      const [, memory, passes] = /m=(\d+),t=(\d+)/.exec(String(stored))!
      work += Number(memory) * Number(passes)
      return verify(stored, password, options, signal)
    },
  }
  return {
    argon2,
    take() {
      const taken = work
      work = 0
      return taken
    },
  }
}

function hashAt(memoryCost: number, timeCost: number): Promise<string> {
  return hash('right', { memoryCost, timeCost, parallelism: 1 })
}

async function accounts(): Promise<Map<string, PasswordAccount>> {
  const passwordHash = await hashPassword('right')
  return new Map([
    ['known', { user: reader, passwordHash }],
    ['disabled', { user: reader, passwordHash, disabled: true }],
    ['unreadable', { user: reader, passwordHash: '$2b$12$abc' }],
    ['weak', { user: reader, passwordHash: await hashAt(64, 1) }],
    ['almost', { user: reader, passwordHash: await hashAt(15_000, 2) }],
    ['weak and disabled', { user: reader, passwordHash: await hashAt(64, 1), disabled: true }],
  ])
}

await t.test('a refused login takes the same work for every account', async (t) => {
  const found = await accounts()
  const { argon2, take } = counted()
  const hasher = { library: async () => argon2, queue: new HashQueue() }
  const check = createCheck({ findAccount: async (login) => found.get(login) ?? null }, hasher)
  await check({ login: 'unknown', password: 'x' })
  take()
  await check({ login: 'unknown', password: 'x' })
  const expected = take()
  t.equal(expected, 19_456 * 2, 'the cost of a current hash')
  for (const login of found.keys()) {
    const refused = ['known', 'weak', 'almost'].includes(login) ? 'wrong' : 'right'
    t.equal(await check({ login, password: refused }), null, login)
    const work = take()
    t.ok(Math.abs(work - expected) <= 16, `${login}: ${work} of ${expected}`)
  }
  t.match(await check({ login: 'known', password: 'right' }), reader)
})

await t.test(
  'the CPU time of refused logins does not reveal whether the account exists',
  async (t) => {
    const found = await accounts()
    const check = createPasswordCheck({ findAccount: async (login) => found.get(login) ?? null })
    const rounds = runs(25, 400)
    // Two-sample Kolmogorov-Smirnov test, p = 0.001: three in a row happen by chance once in 10^9.
    const limit = 1.95 * Math.sqrt(2 / rounds)
    let distance = 1
    for (let repeat = 0; repeat < 3 && distance >= limit; repeat++) {
      const { known, unknown } = await measure(check, rounds)
      distance = distanceOf(known, unknown)
      const ratio = (median(unknown) / median(known)).toFixed(3)
      t.comment(`work unknown/known ${ratio}, distance ${distance.toFixed(3)} of ${rounds} each`)
    }
    t.ok(distance < limit, 'the two distributions are the same')
  },
)

/** CPU time of refused logins, in microseconds. */
async function measure(check: CredentialCheck, rounds: number) {
  const samples = { known: [] as number[], unknown: [] as number[] }
  const names = ['known', 'unknown'] as const
  for (let round = 0; round < rounds; round++) {
    // In pairs of random order, so that a busy machine slows both equally.
    for (const login of randomInt(2) === 0 ? names : names.toReversed()) {
      const start = process.cpuUsage()
      await check({ login, password: 'wrong' })
      const { user, system } = process.cpuUsage(start)
      samples[login].push(user + system)
    }
  }
  return samples
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

function share(values: readonly number[], limit: number): number {
  return values.filter((value) => value <= limit).length / values.length
}

/** The largest distance between two empirical distributions. */
function distanceOf(a: readonly number[], b: readonly number[]): number {
  return Math.max(...[...a, ...b].map((limit) => Math.abs(share(a, limit) - share(b, limit))))
}
