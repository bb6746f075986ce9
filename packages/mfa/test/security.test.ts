import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline/promises'
import { fileURLToPath } from 'node:url'
import {
  createLocalCipher,
  createManualClock,
  createMemoryStore,
  createRedisStore,
  createSqlClient,
  generateCipherKey,
  parseCipherKeys,
  type Store,
} from '@parapet/kit'
import { createStoreAccounts, mfa, type AccountRepository, type MfaProof } from '@parapet/mfa'
import { plainNode, runs, usePostgres, useRedis } from '@parapet/testing'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Secret } from 'otpauth'
import t, { type Test } from 'tap'
import { createAccounts } from '../src/accounts.ts'
import { createBackupCodes } from '../src/backup-codes.ts'
import type { Core } from '../src/core.ts'
import { createOneTime } from '../src/one-time.ts'
import { createMarks } from '../src/proof.ts'
import { createAddressGate } from '../src/throttle-ip.ts'
import { TotpProofs, type PendingTotp } from '../src/totp-proofs.ts'
import { stepAt, totpCode } from '../src/totp.ts'
import { Authenticator } from './authenticator.ts'
import { begin, build, codeAt, createApp, enrol, KEYS, post, wrongCode } from './helpers.ts'
import type { Race, Setup } from './racer.ts'

const passkeys = { rpId: 'example.org', origins: ['https://example.org'] }

/** Starts two processes. @returns a race between them: both get ready, are told to run, and answer. */
function startRacers(t: Test, setup: Setup): (race: Race) => Promise<string[]> {
  const [file, args] = plainNode([fileURLToPath(new URL('racer.ts', import.meta.url))])
  const racers = [0, 1].map(() => {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    child.stdin.write(`${JSON.stringify(setup)}\n`)
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
  })
  const tell = (what: unknown): void => {
    for (const { child } of racers) child.stdin.write(`${JSON.stringify(what)}\n`)
  }
  const hear = () =>
    Promise.all(racers.map(async ({ lines }) => String((await lines.next()).value)))
  return async (race) => {
    tell(race)
    t.same(await hear(), ['ready', 'ready'])
    tell('go')
    return (await hear()).flatMap((line) => JSON.parse(line) as string[])
  }
}

/** How many of the guesses were compared with a code at all. */
function compared(answers: readonly string[]): number {
  return answers.filter((answer) => answer === 'PARAPET_MFA_CODE_REFUSED').length
}

await t.test('of 200 attempts from two processes at what works once, one succeeds', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const client = new Redis(redis.url)
  const store = createRedisStore({ client, prefix: redis.prefix, deadlineMs: 20_000 })
  t.teardown(async () => {
    await store.close()
    client.disconnect()
  })
  const built = await build(t, { store, passkeys })
  const { app, clock } = built
  const alice = await enrol(built, 'alice')
  const bob = await begin(built, 'bob')
  const now = clock.now()
  const race = startRacers(t, { redisUrl: redis.url, prefix: redis.prefix, keys: KEYS, now })
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
    const answers = await race({ racers: 100, ...attempt })
    t.equal(answers.length, 200, what)
    t.equal(answers.filter((answer) => answer === 'ok').length, 1, `${what}: one success`)
    const refusals = new Set(answers.filter((answer) => answer !== 'ok'))
    for (const refusal of refusals) {
      t.match(refusal, /_(?:CODE_USED|CODE_REFUSED|THROTTLED|TICKET_REFUSED|CHALLENGE_REFUSED)$/)
    }
  }
  const guess = { kind: 'verify', code: wrongCode(alice.secret, now) } as const
  const guesses = await race({ racers: 100, user: 'alice', attempt: guess })
  t.equal(compared(guesses), 5, 'of 200 guesses at once the free ones are compared, and no more')
  const sprayed = await race({ racers: 100, user: 'u', ip: '192.0.2.1', attempt: guess })
  t.equal(compared(sprayed), 20, 'nor does one address get further over 200 accounts')
})

await t.test('in PostgreSQL too: of many attempts over two instances one succeeds', async (t) => {
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
})

/** A store that answers late, in an order of its own: every call waits a random number of turns. */
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

/** A generator that a seed repeats (mulberry32). */
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
const throttle = {
  freeAttempts: 50,
  firstWaitSeconds: 1,
  maxWaitSeconds: 1,
  hardStop: 1000,
  failuresPer30Days: 1000,
}

/**
 * One random schedule: two instances, codes of old and coming steps shown several times at once, time
 * going on between. The model knows which steps are spent.
 */
async function schedule(seed: number): Promise<{ accepted: number; replayed: number }> {
  const random = seeded(seed)
  const pick = (count: number): number => Math.floor(random() * count)
  const clock = createManualClock(1_700_000_000_000 + pick(1e9))
  const memory = createMemoryStore({ clock, maxBytes: 1_000_000 })
  const cipher = createLocalCipher(parseCipherKeys(KEYS))
  const instances = [0, 1].map(() => {
    const store = scrambled(memory, random)
    const core: Core = {
      accounts: createAccounts(createStoreAccounts(store), cipher),
      marks: createMarks(store, 1000, clock.now),
      gate: createAddressGate(store, throttle, clock.now),
      now: clock.now,
      throttle,
      emit: () => {},
      notify: () => {},
    }
    const tickets = createOneTime<PendingTotp>(store, cipher, 'ticket', 600_000)
    const settings = { issuer: 'Acme', totp, backupCodes: 4, tickets, ticketTtlMs: 600_000 }
    return { core, proofs: new TotpProofs(core, settings), tickets }
  })
  const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
  const key = Secret.fromBase32(secret)
  await instances[0]!.core.accounts.update('u', (account) => ({
    next: { ...account, totp: { secret, enrolledAt: 0, lastStep: 0, drift: null } },
    result: null,
  }))
  const ticket = await instances[0]!.tickets.put({ userId: 'u', secret, backupCodes: [], epoch: 0 })
  let spent = 0
  let accepted = 0
  let replayed = 0
  for (let round = 0; round < 3; round++) {
    const codes = [0, 1].map(() => totpCode(key, stepAt(clock.now()) + pick(5) - 2, totp))
    const shown = Array.from({ length: 2 + pick(3) }, () => codes[pick(2)]!)
    const attempts = shown.map((code) =>
      instances[pick(2)]!.proofs.verify('u', code, {}).then(
        ({ driftSteps }) => stepAt(clock.now()) + driftSteps!,
        () => null,
      ),
    )
    const takes = instances.map(({ tickets }) => tickets.take(ticket))
    const steps = (await Promise.all(attempts)).filter((step) => step !== null)
    const taken = (await Promise.all(takes)).filter((value) => value !== null).length
    // In one round the order of two steps is free, but neither may come twice nor be of the past.
    replayed += steps.length - new Set(steps).size
    replayed += steps.filter((step) => step <= spent).length
    replayed += round === 0 ? taken - 1 : taken
    spent = Math.max(spent, ...steps)
    accepted += steps.length
    clock.advance(pick(3) * 15_000)
  }
  return { accepted, replayed }
}

await t.test('no random schedule makes anything work twice', async (t) => {
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

await t.test("user A's record in user B's row is refused, and so is a damaged one", async (t) => {
  const rows = createStoreAccounts(createMemoryStore())
  let swapped = false
  let damaged = false
  const accounts: AccountRepository = {
    ...rows,
    async load(userId) {
      const stored = await rows.load(swapped ? 'alice' : userId)
      const sealed = stored?.sealed.replace(/.{4}$/, (end) => (damaged ? 'AAAA' : end))
      return stored === null ? null : { ...stored, sealed: sealed! }
    },
  }
  const built = await build(t, { accounts })
  const { app, as, clock } = built
  const { secret, backupCodes } = await enrol(built, 'alice')
  await enrol(built, 'bob')
  const attempts = [codeAt(secret, clock.now()), backupCodes[0]!]
  swapped = true
  for (const code of attempts) {
    const reply = await as('bob', post('/mfa/verify', { code }))
    t.equal(reply.statusCode, 500)
    t.match(reply.json(), { code: 'PARAPET_MFA_ACCOUNT_UNREADABLE' })
    t.notMatch(reply.body, /cipher|pe1/)
  }
  swapped = false
  damaged = true
  for (const code of attempts) {
    await t.rejects(app.mfa.verify('alice', code), { code: 'PARAPET_MFA_ACCOUNT_UNREADABLE' })
  }
  await app.mfa.forget('alice')
  damaged = false
  t.equal((await app.mfa.status('alice')).enrolled, false, 'it can still be erased')
})

await t.test('a dump of the database without the key verifies nothing', async (t) => {
  const accounts = createStoreAccounts(createMemoryStore())
  const built = await build(t, { accounts })
  const { secret, backupCodes } = await enrol(built, 'alice')
  const thief = await build(t, { accounts, keys: generateCipherKey() })
  thief.clock.advance(60_000)
  for (const code of [codeAt(secret, thief.clock.now()), backupCodes[0]!]) {
    await t.rejects(thief.app.mfa.verify('alice', code), { code: 'PARAPET_MFA_ACCOUNT_UNREADABLE' })
  }
  const rotated = await build(t, { accounts, keys: `${generateCipherKey()},${KEYS}` })
  rotated.clock.advance(60_000)
  t.ok(
    await rotated.app.mfa.verify('alice', codeAt(secret, rotated.clock.now())),
    'a key ring opens it',
  )
  rotated.clock.advance(60_000)
  await t.rejects(
    built.app.mfa.status('alice'),
    { code: 'PARAPET_MFA_ACCOUNT_UNREADABLE' },
    'and has sealed it anew under its first key',
  )
})

await t.test('who has no factor is answered as one with a wrong code', async (t) => {
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
})

await t.test('a route that the plugin came too late for is refused, not left open', async (t) => {
  const app = createApp(t)
  const reasons: string[] = []
  void app.register(mfa, { issuer: 'Acme', keys: KEYS })
  app.get('/reports', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
  await app.ready()
  app.securityEvents.on('mfa.challenged', ({ details }) => void reasons.push(details.reason))
  const reply = await app.inject({ url: '/reports', headers: { 'x-user': 'alice' } })
  t.equal(reply.statusCode, 401)
  t.same(reasons, ['missed'])
})

await t.test('a route is refused before its body is read, in every spelling', async (t) => {
  const app = Fastify({ routerOptions: { caseSensitive: false, ignoreTrailingSlash: true } })
  t.after(() => app.close())
  await app.register(mfa, {
    issuer: 'Acme',
    keys: KEYS,
    principal: () => ({ id: 'alice', roles: ['__proto__', 'constructor'], sessionId: 's1' }),
    roles: { admin: {} },
  })
  app.addContentTypeParser('text/plain', async () => t.fail('the body was parsed'))
  const config = Object.freeze({ mfa: 'required' as const })
  app.route({ method: ['GET', 'POST'], url: '/reports', config, handler: () => t.fail('it ran') })
  for (const url of ['/reports', '/reports/', '/REPORTS', '/reports?x=1', '/%72eports']) {
    for (const method of ['GET', 'HEAD', 'POST'] as const) {
      const body = method === 'POST' ? { body: 'x', headers: { 'content-type': 'text/plain' } } : {}
      t.equal((await app.inject({ method, url, ...body })).statusCode, 403, `${method} ${url}`)
    }
  }
  t.same(Reflect.ownKeys(config), ['mfa'], 'a shared config is not written to')
})

await t.test(
  'no session gets a proof that this plugin did not make, or that a reset ended',
  async (t) => {
    const built = await build(t)
    const { app, as, clock } = built
    app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
    const { secret } = await enrol(built, 'alice')
    const { proof } = await app.mfa.verify('alice', codeAt(secret, clock.now()), { amr: ['pwd'] })
    for (const forged of [
      { ...proof },
      JSON.parse(JSON.stringify(proof)),
      null,
      'proof',
    ] as MfaProof[]) {
      await t.rejects(app.mfa.assure(forged, 's1'), { code: 'PARAPET_MFA_INVALID_ARGUMENT' })
    }
    await app.mfa.assure(proof, 's1')
    t.equal((await as('alice', { url: '/reports' })).statusCode, 200)
    await app.mfa.reset('alice', 'support')
    await t.rejects(app.mfa.assure(proof, 's1'), {
      code: 'PARAPET_MFA_STEP_UP_REQUIRED',
      statusCode: 401,
    })
    await enrol(built, 'alice')
    t.equal((await as('alice', { url: '/reports' })).statusCode, 401)
  },
)

await t.test('a code alone, without a login before it, is no two factors', async (t) => {
  const built = await build(t)
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  const { secret } = await enrol(built, 'alice')
  const { proof } = await app.mfa.verify('alice', codeAt(secret, clock.now()))
  t.equal(proof.aal, 1)
  await app.mfa.assure(proof, 's1')
  t.equal((await as('alice', { url: '/reports' })).statusCode, 401)
})

await t.test("another user's ticket is refused and stays with its owner", async (t) => {
  const { app, clock } = await build(t)
  const { ticket, secret } = await app.mfa.totp.begin({ id: 'alice', name: 'alice' })
  const code = codeAt(secret, clock.now())
  for (const given of [ticket, `${ticket}=`, '', 'A'.repeat(43)]) {
    await t.rejects(app.mfa.totp.confirm('bob', given, code), {
      code: 'PARAPET_MFA_TICKET_REFUSED',
    })
  }
  t.ok(await app.mfa.totp.confirm('alice', ticket, code))
})

await t.test(
  'what is not six digits of ASCII is no code, and never an error of ours',
  async (t) => {
    const { as } = await build(t)
    for (const text of [
      '１２３４５６',
      '1234567',
      '-12345',
      '1e5000',
      '000000000000000000000',
      '😀😀😀😀😀😀',
    ]) {
      const reply = await as('alice', post('/mfa/verify', { code: text }))
      t.equal(reply.statusCode, 400, text)
    }
    // Numbers and lists of one are read as the text they stand for; nothing else is.
    const statuses: [unknown, number][] = [
      [123456, 403],
      [['123456'], 403],
      [null, 400],
      [{}, 400],
      ['', 400],
    ]
    for (const [code, status] of statuses) {
      t.equal((await as('alice', post('/mfa/verify', { code }))).statusCode, status)
    }
  },
)

await t.test('a user id that no store could keep is refused', async (t) => {
  const { app } = await build(t)
  for (const id of ['', 'x'.repeat(301), 'a\0b', '\uD800', 1 as never]) {
    await t.rejects(app.mfa.status(id), { code: 'PARAPET_MFA_INVALID_ARGUMENT' })
  }
})

await t.test('two device cookies, or a broken one, are none', async (t) => {
  const built = await build(t)
  const { app, as, clock } = built
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'reports')
  const { secret } = await enrol(built, 'alice')
  const verify = post('/mfa/verify', { code: codeAt(secret, clock.now()), rememberDevice: true })
  const cookie = String((await as('alice', verify)).headers['set-cookie']).split(';')[0]!
  const ask = async (header: string, session = '') =>
    (await as('alice', { url: '/reports', session, headers: { cookie: header } })).statusCode
  t.equal(await ask(`a=b; ${cookie}`), 200)
  t.equal(await ask(`${cookie}; ${cookie}`), 401)
  t.equal(await ask(cookie.slice(0, -1)), 401)
  t.equal(await ask(cookie.replace(/.$/, (end) => (end === 'A' ? 'B' : 'A'))), 401)
  t.equal(await ask(cookie.replace('__Host-', '')), 401)
  clock.advance(2_592_000_000)
  t.equal(await ask(cookie), 401, 'a month later')
  await app.mfa.devices.revoke('alice')
  t.same(await app.mfa.devices.list('alice'), [])
})

await t.test('guessing backup codes makes waits of its own', async (t) => {
  const built = await build(t)
  const { app, clock } = built
  const { secret, backupCodes } = await enrol(built, 'alice')
  const [wrong] = createBackupCodes(1)
  for (let i = 0; i < 5; i++) {
    await t.rejects(app.mfa.verify('alice', wrong!), { code: 'PARAPET_MFA_CODE_REFUSED' })
  }
  const held = { code: 'PARAPET_MFA_THROTTLED', headers: { 'retry-after': '30' } }
  await t.rejects(app.mfa.verify('alice', backupCodes[0]!), held)
  t.ok(await app.mfa.verify('alice', codeAt(secret, clock.now())), 'the app is another matter')
})

await t.test('of many who confirm one ticket at once, one does', async (t) => {
  const { app, clock, events } = await build(t)
  const { ticket, secret } = await app.mfa.totp.begin({ id: 'alice', name: 'alice' })
  const code = codeAt(secret, clock.now())
  const attempts = Array.from({ length: 20 }, () => app.mfa.totp.confirm('alice', ticket, code))
  const settled = await Promise.allSettled(attempts)
  t.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1)
  t.equal(events.filter(({ type }) => type === 'mfa.enrolled').length, 1)
})

await t.test('a challenge ends after five minutes', async (t) => {
  const { app, clock } = await build(t, { passkeys })
  const { challenge } = await app.mfa.passkeys.registrationOptions({ id: 'alice', name: 'alice' })
  clock.advance(300_000)
  const response = new Authenticator().create({ challenge })
  await t.rejects(app.mfa.passkeys.register('alice', response, 'Key'), {
    code: 'PARAPET_MFA_CHALLENGE_REFUSED',
  })
})

await t.test(
  'no secret, code, ticket or cookie reaches an event, a notice or the log',
  async (t) => {
    const lines: string[] = []
    const app = Fastify({
      logger: { level: 'trace', stream: { write: (line) => void lines.push(line) } },
    })
    t.after(() => app.close())
    const clock = createManualClock()
    const told: unknown[] = []
    const notify = (notice: unknown) => void told.push(notice)
    await app.register(mfa, {
      issuer: 'Acme',
      keys: KEYS,
      clock,
      notify,
      principal: () => ({ id: 'alice', roles: [], sessionId: 'session-1' }),
    })
    app.securityEvents.on('*', (event) => void told.push(event))
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
    const heard = JSON.stringify(told) + lines.join('')
    for (const text of [ticket, secret, code, ...backupCodes, cookie]) t.notOk(heard.includes(text))
  },
)

await t.test('a context of its own stays on its own', async (t) => {
  const app = createApp(t)
  await app.register(async (child) => {
    await child.register(mfa, { issuer: 'Acme', keys: KEYS })
    child.get('/inside', { config: { mfa: 'required' } }, async () => t.fail('the handler ran'))
  })
  app.get('/outside', { config: { mfa: 'required' } }, async () => 'outside')
  t.equal((await app.inject('/inside')).statusCode, 401)
  t.equal((await app.inject('/outside')).statusCode, 200, 'no plugin, no rule')
  t.notOk(app.hasDecorator('mfa'))
})
