/** Rotation of the key that seals accounts, and warnings about where accounts and proofs are kept. */
import {
  createLocalCipher,
  createMemoryStore,
  createSqlClient,
  generateCipherKey,
  parseCipherKeys,
  type Store,
} from '@parapet/kit'
import { createSqlAccounts, createStoreAccounts, mfa, type MfaOptions } from '@parapet/mfa'
import { usePostgres } from '@parapet/testing'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { createAccount } from '../src/account/account.ts'
import { sealAccount } from '../src/account/sealed-account.ts'
import { build, codeAt, enrol, KEYS, outcome, post } from './helpers.ts'

/** A key with another id than {@link KEYS}. */
const NEXT = generateCipherKey().replace(/^\d+/, '4242')

const accountOf = (store: Store, user: string) => store.get(`mfa:account:${user}`)

await t.test('an account is sealed by the new key when it is read', async (t) => {
  const store = createMemoryStore()
  const old = await build(t, { store })
  const { secret } = await enrol(old, 'alice')
  const sealed = await accountOf(store, 'alice')
  await (await build(t, { store, keys: `${KEYS},${NEXT}` })).app.mfa.status('alice')
  t.equal(await accountOf(store, 'alice'), sealed, 'the old key is still the primary one')
  await (await build(t, { store, keys: `${NEXT},${KEYS}` })).app.mfa.status('alice')
  const { app, as, clock } = await build(t, { store, keys: NEXT })
  clock.advance(old.clock.now() - clock.now())
  t.equal((await app.mfa.status('alice')).enrolled, true)
  const reply = await as('alice', post('/mfa/verify', { code: codeAt(secret, clock.now()) }))
  t.equal(outcome(reply), '200', 'without the old key')
})

await t.test('resealAll seals every account, and counts those that do not open', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  const old = await build(t, { sql })
  const users = Array.from({ length: 102 }, (_, i) => `user-${i}`)
  const accounts = createSqlAccounts(sql)
  const cipher = createLocalCipher(parseCipherKeys(KEYS))
  for (const user of users) {
    await accounts.save(user, 0, await sealAccount(cipher, user, createAccount()))
  }
  const both = await build(t, { sql, keys: `${NEXT},${KEYS}` })
  t.same(await both.app.mfa.resealAll(), { accounts: 102, resealed: 102, unreadable: 0 })
  t.same(await both.app.mfa.resealAll(), { accounts: 102, resealed: 0, unreadable: 0 })
  const last = await build(t, { sql, keys: NEXT })
  t.same(await last.app.mfa.resealAll(), { accounts: 102, resealed: 0, unreadable: 0 })
  t.same(await old.app.mfa.resealAll(), { accounts: 102, resealed: 0, unreadable: 102 })
  const { rows } = await sql.query<{ max: number }>('SELECT max(version)::float8 FROM mfa_accounts')
  t.equal(rows[0]!.max, 2, 'an account that does not open is left as it is')
})

await t.test(
  'a storage that cannot list its accounts cannot be sealed again as a whole',
  async (t) => {
    const { app } = await build(t)
    await t.rejects(app.mfa.resealAll(), {
      code: 'PARAPET_MFA_INVALID_ARGUMENT',
      message: /needs the option "sql"/,
    })
  },
)

/** The warnings of a boot, without the deviations. */
async function warningsOf(t: Test, options: Partial<MfaOptions>): Promise<string[]> {
  const lines: { msg: string; level: number }[] = []
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as never) }
  const app = Fastify({ logger: { level: 'warn', stream } })
  t.after(() => app.close())
  await app.register(mfa, { issuer: 'Acme', keys: KEYS, ...options })
  await app.ready()
  return lines.map(({ msg }) => msg)
}

await t.test('the boot warns where a restart or a flush would remove protection', async (t) => {
  const store = createMemoryStore()
  const accounts = createStoreAccounts(store)
  t.match(await warningsOf(t, {}), [/accounts in memory/])
  t.match(await warningsOf(t, { store }), [/accounts in "store".*FLUSHALL/])
  t.match(await warningsOf(t, { accounts }), [/proofs and limits in the memory/])
  t.same(await warningsOf(t, { store, accounts }), [])
})
