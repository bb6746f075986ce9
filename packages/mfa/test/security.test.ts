import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import {
  createLocalCipher,
  createManualClock,
  createMemoryStore,
  createRedisStore,
  createSqlClient,
  parseCipherKeys,
  type Store,
} from '@parapet/kit'
import { createStoreAccounts, mfa } from '@parapet/mfa'
import { wrapCipher } from '../src/account/account-cipher.ts'
import { plainNode, runs, usePostgres, useRedis } from '@parapet/testing'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Secret } from 'otpauth'
import t, { type Test } from 'tap'
import { createAccounts } from '../src/account/accounts.ts'
import type { FactorContext } from '../src/factors/context.ts'
import { createAddressLimits } from '../src/limits/address-limits.ts'
import { createSessionProofs } from '../src/proofs/session-proofs.ts'
import { createOneTimeTokens } from '../src/tokens/one-time-token.ts'
import { stepAt, totpCode } from '../src/totp/totp-code.ts'
import type { PendingTotp } from '../src/totp/totp-enrolment.ts'
import { createTotpVerification } from '../src/totp/totp-verification.ts'
import { Authenticator, RELYING_PARTY } from './authenticator.ts'
import type { Race, Setup } from './concurrent-attempts.ts'
import { begin, build, codeAt, enrol, KEYS, post, wrongCode } from './helpers.ts'

const passkeys = RELYING_PARTY

/** Starts two processes. @returns a function that runs one race in both and returns all results. */
function startProcesses(t: Test, setup: Setup): (race: Race) => Promise<string[]> {
  const [file, args] = plainNode([
    fileURLToPath(new URL('concurrent-attempts.ts', import.meta.url)),
  ])
  const processes = [0, 1].map(() => {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    t.after(() => child.kill('SIGKILL'))
    child.stdin.write(`${JSON.stringify(setup)}\n`)
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
  })
  const send = (message: unknown): void => {
    for (const { child } of processes) child.stdin.write(`${JSON.stringify(message)}\n`)
  }
  const receive = () =>
    Promise.all(processes.map(async ({ lines }) => String((await lines.next()).value)))
  return async (race) => {
    send(race)
    t.same(await receive(), ['ready', 'ready'])
    send('go')
    return (await receive()).flatMap((line) => JSON.parse(line) as string[])
  }
}

/** How many guesses were compared with a code. */
function compared(answers: readonly string[]): number {
  return answers.filter((answer) => answer === 'PARAPET_MFA_CODE_REFUSED').length
}

await t.test('of 200 concurrent attempts from two processes one succeeds', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const client = new Redis(redis.url)
  const store = createRedisStore({ client, prefix: redis.prefix, deadlineMs: 20_000 })
  t.after(async () => {
    await store.close()
    client.disconnect()
  })
  const built = await build(t, { store, passkeys })
  const { app, clock } = built
  const alice = await enrol(built, 'alice')
  const bob = await begin(built, 'bob')
  const now = clock.now()
  const race = startProcesses(t, { redisUrl: redis.url, prefix: redis.prefix, keys: KEYS, now })
  const device = new Authenticator()
  const options = await app.mfa.passkeys.registrationOptions({ id: 'carol', name: 'carol' })
  await app.mfa.passkeys.register('carol', device.create({ challenge: options.challenge }), 'Key')
  const { challenge } = await app.mfa.passkeys.assertionOptions('carol')
  const attempts: Record<string, Pick<Race, 'user' | 'attempt'>> = {
    'a TOTP step': {
      user: 'alice',
      attempt: { kind: 'verify', code: codeAt(alice.secret, now) },
    },
    'a backup code': { user: 'alice', attempt: { kind: 'verify', code: alice.backupCodes[0]! } },
    'an enrolment ticket': {
      user: 'bob',
      attempt: { kind: 'confirm', ticket: bob.ticket, code: codeAt(bob.secret, now) },
    },
    'a challenge': {
      user: 'carol',
      attempt: { kind: 'passkey', response: device.get({ challenge }) },
    },
  }
  for (const [what, attempt] of Object.entries(attempts)) {
    const answers = await race({ attempts: 100, ...attempt })
    t.equal(answers.length, 200, what)
    t.equal(answers.filter((answer) => answer === 'ok').length, 1, `${what}: one success`)
    const refusals = new Set(answers.filter((answer) => answer !== 'ok'))
    for (const refusal of refusals) {
      t.match(refusal, /_(?:CODE_USED|CODE_REFUSED|THROTTLED|TICKET_REFUSED|CHALLENGE_REFUSED)$/)
    }
  }
  const guess = { kind: 'verify', code: wrongCode(alice.secret, now) } as const
  const guesses = await race({ attempts: 100, user: 'alice', attempt: guess })
  t.equal(compared(guesses), 5, 'of 200 concurrent guesses only the free attempts are compared')
  const sprayed = await race({ attempts: 100, user: 'u', ip: '192.0.2.1', attempt: guess })
  t.equal(compared(sprayed), 20, 'one address gets no further across 200 accounts')
})

await t.test(
  'of 100 concurrent attempts over two instances on PostgreSQL one succeeds',
  async (t) => {
    const server = await usePostgres(t)
    if (server === null) return
    const sql = createSqlClient(server.pool)
    const store = createMemoryStore()
    const instances = [await build(t, { sql, store }), await build(t, { sql, store })] as const
    const [first] = instances
    const { secret, backupCodes } = await enrol(first, 'alice')
    instances[1].clock.advance(30_000)
    const now = first.clock.now()
    const race = async (code: string) => {
      const attempts = Array.from({ length: 100 }, (_, i) =>
        instances[i % 2]!.app.mfa.verify('alice', code).then(
          () => 'ok',
          (error: { code: string }) => error.code,
        ),
      )
      const answers = await Promise.all(attempts)
      return (wanted: string) => answers.filter((answer) => answer === wanted).length
    }
    const step = await race(codeAt(secret, now))
    t.same([step('ok'), step('PARAPET_MFA_CODE_USED')], [1, 99])
    t.equal((await race(backupCodes[0]!))('ok'), 1)
    t.equal((await race(wrongCode(secret, now)))('PARAPET_MFA_CODE_REFUSED'), 5)
  },
)

/** A store with random delays: every call waits a random number of microtask turns. */
function scrambled(store: Store, random: () => number): Store {
  const turns = async (): Promise<void> => {
    for (let left = Math.floor(random() * 4); left > 0; left--) await Promise.resolve()
  }
  return new Proxy(store, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      return async (...args: unknown[]) => {
        await turns()
        const result: unknown = await Reflect.apply(value, target, args)
        await turns()
        return result
      }
    },
  })
}

/** A random generator with a seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const totp = { algorithm: 'SHA1', digits: 6, window: 2, learnedWindow: 1 } as const
const limits = {
  freeAttempts: 50,
  firstWaitSeconds: 1,
  maxWaitSeconds: 1,
  hardStop: 1000,
  failuresPer30Days: 1000,
}

/**
 * One random schedule: two instances get concurrent attempts with codes of past and future steps, and
 * the time advances in between. The model knows which steps are used.
 */
async function schedule(seed: number): Promise<{ accepted: number; replayed: number }> {
  const random = seeded(seed)
  const pick = (count: number): number => Math.floor(random() * count)
  const clock = createManualClock(1_700_000_000_000 + pick(1e9))
  const memory = createMemoryStore({ clock, maxBytes: 1_000_000 })
  const cipher = createLocalCipher(parseCipherKeys(KEYS))
  const instances = [0, 1].map(() => {
    const store = scrambled(memory, random)
    const context: FactorContext = {
      accounts: createAccounts(createStoreAccounts(store), wrapCipher(cipher), clock),
      sessionProofs: createSessionProofs(store, 1000, clock.now),
      addressLimits: createAddressLimits(store, limits, clock.now),
      now: clock.now,
      limits,
      emit: () => {},
      notify: () => {},
    }
    const tickets = createOneTimeTokens<PendingTotp>(store, cipher, 'ticket', 600_000)
    return { context, verification: createTotpVerification(context, totp), tickets }
  })
  const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
  const key = Secret.fromBase32(secret)
  await instances[0]!.context.accounts.update('u', (account) => ({
    next: { ...account, totp: { secret, enrolledAt: 0, lastStep: 0, drift: null } },
    result: null,
  }))
  const ticket = await instances[0]!.tickets.issue({
    userId: 'u',
    secret,
    backupCodes: [],
    epoch: 0,
  })
  let spent = 0
  let accepted = 0
  let replayed = 0
  for (let round = 0; round < 3; round++) {
    const codes = [0, 1].map(() => totpCode(key, stepAt(clock.now()) + pick(5) - 2, totp))
    const shown = Array.from({ length: 2 + pick(3) }, () => codes[pick(2)]!)
    const attempts = shown.map((code) =>
      instances[pick(2)]!.verification.verify('u', code, {}).then(
        ({ driftSteps }) => stepAt(clock.now()) + driftSteps!,
        () => null,
      ),
    )
    const redemptions = instances.map(({ tickets }) => tickets.redeem(ticket))
    const steps = (await Promise.all(attempts)).filter((step) => step !== null)
    const redeemed = (await Promise.all(redemptions)).filter((value) => value !== null).length
    // Within a round two steps may succeed in any order, but none twice, and none of an earlier round.
    replayed += steps.length - new Set(steps).size
    replayed += steps.filter((step) => step <= spent).length
    replayed += round === 0 ? redeemed - 1 : redeemed
    spent = Math.max(spent, ...steps)
    accepted += steps.length
    clock.advance(pick(3) * 15_000)
  }
  return { accepted, replayed }
}

await t.test('no random schedule lets a code or ticket work twice', async (t) => {
  const count = runs(500, 100_000)
  let accepted = 0
  let replayed = 0
  for (let seed = 1; seed <= count; seed++) {
    const result = await schedule(seed)
    accepted += result.accepted
    replayed += result.replayed
  }
  t.equal(replayed, 0, `of ${count} schedules`)
  t.ok(accepted > count, `${accepted} codes were accepted once`)
  t.comment(`${count} schedules, ${accepted} accepted, ${replayed} replayed`)
})

await t.test(
  'a user without a factor gets the same response as a user with a wrong code',
  async (t) => {
    const built = await build(t)
    const { as, clock } = built
    const { secret } = await enrol(built, 'alice')
    const answers = []
    for (const user of ['alice', 'nobody']) {
      const wrong = wrongCode(secret, clock.now())
      for (const code of [wrong, '7K2QM-9ZPX4-W0D', '00000-00000-0000']) {
        const reply = await as(user, post('/mfa/verify', { code }))
        const { requestId: _, ...body } = reply.json<{ requestId: string }>()
        answers.push({ status: reply.statusCode, body })
      }
    }
    t.same(answers.slice(0, 3), answers.slice(3))
    t.same(
      answers.map(({ status }) => status),
      [403, 400, 403, 403, 400, 403],
    )
  },
)

await t.test(
  'no secret, code, ticket or cookie reaches an event, a notice or the log',
  async (t) => {
    const lines: string[] = []
    const app = Fastify({
      logger: { level: 'trace', stream: { write: (line) => void lines.push(line) } },
    })
    t.after(() => app.close())
    const clock = createManualClock()
    const reported: unknown[] = []
    const notify = (notice: unknown) => void reported.push(notice)
    await app.register(mfa, {
      issuer: 'Acme',
      keys: KEYS,
      clock,
      notify,
      principal: () => ({ id: 'alice', roles: [], sessionId: 'session-1' }),
    })
    app.securityEvents.on('*', (event) => void reported.push(event))
    const ask = async (url: string, payload: object) =>
      app.inject({ method: 'POST', url, payload, headers: { 'user-agent': 'Browser' } })
    const begun = await app.mfa.totp.begin({ id: 'alice', name: 'alice' })
    const { ticket, secret, backupCodes } = begun
    const code = codeAt(secret, clock.now())
    await ask('/mfa/totp/confirm', { ticket, code })
    await ask('/mfa/verify', { code })
    const verified = await ask('/mfa/verify', { code: backupCodes[0], rememberDevice: true })
    const cookie = String(verified.headers['set-cookie']).split(/[=;]/)[1]!
    t.equal(cookie.length, 60)
    const written = JSON.stringify(reported) + lines.join('')
    for (const text of [ticket, secret, code, ...backupCodes, cookie])
      t.notOk(written.includes(text))
  },
)
