/** What attempts cost and how many there may be. */
import { createHook } from 'node:async_hooks'
import { createMemoryStore, type Store } from '@parapet/kit'
import t from 'tap'
import { createBackupCodes } from '../src/backup-codes.ts'
import { Authenticator } from './authenticator.ts'
import { build, codeAt, enrol, post, wrongCode } from './helpers.ts'

const passkeys = { rpId: 'example.org', origins: ['https://example.org'] }
const ip = '192.0.2.1'

/** A store that writes down what is asked of it, in kinds of keys. */
function recording(store: Store, calls: string[]): Store {
  return new Proxy(store, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        calls.push(`${String(key)} ${String(args[0]).split(':').slice(0, 2).join(':')}`)
        return Reflect.apply(value, target, args) as unknown
      }
    },
  })
}

await t.test('a wrong code asks of the store what a right one does, enrolled or not', async (t) => {
  const calls: string[] = []
  const built = await build(t, { store: recording(createMemoryStore(), calls) })
  const { app, clock } = built
  const { secret } = await enrol(built, 'alice')
  const attempt = async (user: string, code: string) => {
    calls.length = 0
    await app.mfa.verify(user, code, { ip }).catch(() => null)
    return calls.slice()
  }
  const right = await attempt('alice', codeAt(secret, clock.now()))
  t.equal(right.filter((call) => call === 'compareAndSet mfa:account').length, 1)
  t.same(await attempt('alice', wrongCode(secret, clock.now())), right, 'wrong')
  t.same(await attempt('nobody', '000000'), right, 'of somebody without a factor')
})

await t.test('a backup code costs one scrypt, right or wrong, a typo none', async (t) => {
  const built = await build(t)
  const { app } = built
  const { backupCodes } = await enrol(built, 'alice')
  let scrypts = 0
  const hook = createHook({
    init: (_id, type) => void (scrypts += Number(type === 'SCRYPTREQUEST')),
  })
  hook.enable()
  t.teardown(() => hook.disable())
  const costOf = async (user: string, code: string) => {
    scrypts = 0
    await app.mfa.verify(user, code).catch(() => null)
    return scrypts
  }
  t.equal(await costOf('alice', backupCodes[3]!), 1, 'right')
  t.equal(await costOf('alice', createBackupCodes(1)[0]!), 1, 'wrong')
  t.equal(await costOf('nobody', createBackupCodes(1)[0]!), 1, 'of somebody without codes')
  t.equal(
    await costOf(
      'alice',
      backupCodes[0]!.replace(/^./, (c) => (c === '0' ? '1' : '0')),
    ),
    0,
  )
})

await t.test('right codes of an own account make up for no guesses at others', async (t) => {
  const built = await build(t)
  const { as, clock } = built
  const { secret } = await enrol(built, 'mallory')
  const statuses = []
  for (let i = 0; i < 21; i++) {
    const own = { code: codeAt(secret, clock.now()) }
    await as('mallory', { ...post('/mfa/verify', own), ip })
    const guess = await as(`user-${i}`, { ...post('/mfa/verify', { code: '000000' }), ip })
    statuses.push(guess.statusCode)
    clock.advance(30_000)
  }
  t.equal(statuses.filter((status) => status === 403).length, 20)
  t.equal(statuses.at(-1), 429)
})

await t.test('an address is forgiven one attempt in each longest wait', async (t) => {
  const { as, clock } = await build(t)
  const guess = async (i: number) =>
    (await as(`user-${i}`, { ...post('/mfa/verify', { code: '000000' }), ip })).statusCode
  for (let i = 0; i < 20; i++) t.equal(await guess(i), 403)
  clock.advance(2 * 3_600_000)
  t.same([await guess(20), await guess(21), await guess(22)], [403, 403, 429])
})

await t.test('addresses of one IPv6 /64 are one, and v4-mapped ones are IPv4', async (t) => {
  const { as } = await build(t)
  const guess = async (i: number, from: string) =>
    (await as(`user-${i}`, { ...post('/mfa/verify', { code: '000000' }), ip: from })).statusCode
  for (let i = 0; i < 20; i++) t.equal(await guess(i, `2001:db8::${i.toString(16)}`), 403)
  t.equal(await guess(20, '2001:db8:0:0:ffff::1'), 429)
  t.equal(await guess(20, '2001:db8:0:1::1'), 403)
  for (let i = 0; i < 20; i++) t.equal(await guess(i, i % 2 === 0 ? ip : `::ffff:${ip}`), 403)
  t.equal(await guess(20, ip), 429)
})

await t.test('what anyone may send to the sign-in makes nobody wait for codes', async (t) => {
  const built = await build(t, { passkeys, signIn: async () => ({}) })
  const { app, as, clock } = built
  const { secret } = await enrol(built, 'alice')
  const response = new Authenticator().get({ challenge: 'A'.repeat(43) })
  const attempt = async () => {
    const request = { method: 'POST', url: '/mfa/passkeys/login', payload: { response } } as const
    return (await app.inject({ ...request, remoteAddress: ip })).statusCode
  }
  for (let i = 0; i < 20; i++) t.equal(await attempt(), 409)
  t.equal(await attempt(), 429)
  const code = codeAt(secret, clock.now())
  t.equal((await as('alice', { ...post('/mfa/verify', { code }), ip })).statusCode, 200)
})

await t.test('backup codes that were right are no failures of the month', async (t) => {
  const throttle = { failuresPer30Days: 10 }
  const built = await build(t, { backupCodes: 20, throttle })
  const { backupCodes } = await enrol(built, 'alice')
  for (const code of backupCodes) t.ok(await built.app.mfa.verify('alice', code))
})

await t.test(
  'what JavaScript hands over is refused by name, and no name breaks the QR code',
  async (t) => {
    const { app, as } = await build(t, { adminRoles: ['admin'] })
    const { mfa } = app
    const invalid = { code: 'PARAPET_MFA_INVALID_ARGUMENT' }
    for (const value of [undefined, null, 123456, {}] as never[]) {
      await t.rejects(mfa.verify('alice', value), invalid)
      await t.rejects(mfa.totp.confirm('alice', 'ticket', value), invalid)
      await t.rejects(mfa.recover('alice', [value, value]), invalid)
      await t.rejects(mfa.totp.begin({ id: value, name: 'alice' }), invalid)
      await t.rejects(mfa.totp.begin({ id: 'alice', name: value }), invalid)
    }
    for (const name of ['名'.repeat(300), '👩‍💻'.repeat(200), 'a\uD800b', '', ':', '%zz']) {
      const { uri } = await mfa.totp.begin({ id: 'alice', name })
      t.ok(new URL(uri).href.length < 1500)
    }
    const nul = await as('dora', { method: 'DELETE', url: '/mfa/users/%00', roles: 'admin' })
    t.equal(nul.statusCode, 400)
  },
)
