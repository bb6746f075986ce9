/** The way back of a second factor that someone else has enrolled: alone, and beside a new address. */
import type { FactorChange, SecondFactor } from '@parapet/sessions'
import t, { type Test } from 'tap'
import { buildAccounts, newPassword, password, type AccountApp } from './accounts.ts'
import { eventsOf, refusalOf } from './build.ts'

const refused = [401, 'PARAPET_SESSIONS_LINK_REFUSED']
const HOUR = 3_600_000

/** An app whose users have the second factors that `enrol` gives them. */
async function buildWithFactors(t: Test, more: Partial<SecondFactor> = {}) {
  const enrolled = new Set<string>()
  const secondFactor: SecondFactor = {
    methodsOf: async (id) => (enrolled.has(id) ? ['totp'] : []),
    verify: async () => Promise.reject(new Error('not asked here')),
    removeAll: async (id) => void enrolled.delete(id),
    ...more,
  }
  const built = await buildAccounts(t, { secondFactor })
  const report = (change: Partial<FactorChange> = {}) =>
    built.app.sessions.account.factorChanged({
      kind: 'enrolled',
      userId: 'ada',
      factor: 'totp',
      ip: '192.0.2.9',
      ...change,
    })
  const enrol = async (userId = 'ada') => {
    const isFirst = !enrolled.has(userId)
    enrolled.add(userId)
    await report({ userId, isFirst })
  }
  return { ...built, enrolled, enrol, report }
}

/** Changes the address of Ada as somebody with a session and the password does. @returns its way back. */
async function changeAddress({ post, mailbox }: AccountApp, token: string): Promise<string> {
  await post('/email', { current: password, email: 'eve@evil.example' }, token)
  await post('/email/verify', { token: (await mailbox.next('change')).token })
  return (await mailbox.next('email_changed')).token
}

await t.test('the owner takes back the first factor that a thief has enrolled', async (t) => {
  const built = await buildWithFactors(t)
  const { app, post, logIn, mailbox, enrolled, enrol, refuses, clock, events } = built
  const thief = await logIn()
  const key = await app.sessions.apiKeys.create({ ownerId: 'ada', name: 'ci', scopes: [] })
  await enrol()
  const notice = await mailbox.next('factor_enrolled')
  t.match(notice, { email: 'ada@example.com', details: { factor: 'totp', ip: '192.0.2.9' } })
  t.match(notice.link, /^https:\/\/app\.example\.com\/undo#token=undo\./)
  clock.advance(71 * HOUR)
  t.equal((await post('/email/undo', { token: notice.token })).statusCode, 204)
  t.same([...enrolled], [])
  await refuses(thief)
  await refuses(key.text, 'the API key')
  t.match(eventsOf(events, 'sessions.factor_undone'), [{ principalId: 'ada' }])
  t.same(eventsOf(events, 'sessions.email_change_undone'), [])
  await mailbox.next('factor_undone')
  const login = await post('/login', { login: 'ada@example.com', password })
  t.same(refusalOf(login), [403, 'PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED'])
  const { token } = await mailbox.next('reset')
  t.equal((await post('/password/reset', { token, password: newPassword })).statusCode, 204)
  t.ok(await logIn('ada@example.com', newPassword), 'without a second step')
  await enrol()
  t.same(refusalOf(await post('/email/undo', { token: notice.token })), refused, 'used')
  t.same([...enrolled], ['ada'], 'the factor of the owner stays')
})

await t.test(
  'only a first factor has a way back, to a verified address, for 72 hours',
  async (t) => {
    const { post, mailbox, table, report, enrol, enrolled, clock } = await buildWithFactors(t)
    await enrol()
    const { token } = await mailbox.next('factor_enrolled')
    await report({ factor: 'passkey' })
    t.match(await mailbox.next('factor_enrolled'), { token: '', details: { factor: 'passkey' } })
    const notices = {
      removed: 'factor_removed',
      backup_code_used: 'backup_code_used',
      locked: 'factor_locked',
      reset: 'factors_reset',
    } as const
    for (const kind of Object.keys(notices) as (keyof typeof notices)[]) {
      await report({ kind })
      t.equal((await mailbox.next(notices[kind])).token, '', kind)
    }
    clock.advance(72 * HOUR)
    t.same(refusalOf(await post('/email/undo', { token })), refused)
    t.same([...enrolled], ['ada'])
    table.rows[1]!.isEmailVerified = false
    await enrol('eve')
    t.equal((await mailbox.next('factor_enrolled')).token, '', 'the mailbox may be that of another')
  },
)

await t.test('without a port to remove factors, the notice has no way back', async (t) => {
  const built = await buildAccounts(t)
  const change = { kind: 'enrolled', userId: 'ada', isFirst: true } as const
  await built.app.sessions.account.factorChanged(change)
  t.equal((await built.mailbox.next('factor_enrolled')).token, '')
  await built.app.sessions.account.factorChanged({ ...change, userId: 'nobody' })
})

await t.test('the way back to an address removes a first factor that came after it', async (t) => {
  const built = await buildWithFactors(t)
  const { post, logIn, mailbox, table, enrolled, enrol } = built
  const token = await changeAddress(built, await logIn())
  await enrol()
  const ofThief = await mailbox.next('factor_enrolled')
  t.equal(ofThief.email, 'eve@evil.example', 'the owner does not learn of it')
  t.equal((await post('/email/undo', { token })).statusCode, 204)
  t.same([table.rows[0]!.email, ...enrolled], ['ada@example.com'])
  t.same(refusalOf(await post('/email/undo', { token: ofThief.token })), refused)
})

await t.test('a factor from before the change of the address stays', async (t) => {
  const built = await buildWithFactors(t)
  const { post, logIn, mailbox, table, enrolled, clock } = built
  const token = await logIn()
  enrolled.add('ada')
  // A session that has shown the factor.
  const { accessToken } = await built.app.sessions.start(
    { id: 'ada', roles: ['reader'] },
    { amr: ['pwd', 'otp'] },
  )
  t.not(accessToken, token)
  const undo = await changeAddress(built, accessToken)
  clock.advance(HOUR)
  t.equal((await post('/email/undo', { token: undo })).statusCode, 204)
  t.same([table.rows[0]!.email, ...enrolled], ['ada@example.com', 'ada'])
  await mailbox.next('email_change_undone')
})

await t.test('the older way back puts back the address and the factor', async (t) => {
  const built = await buildWithFactors(t)
  const { app, post, mailbox, table, enrolled, enrol } = built
  await enrol()
  const { token } = await mailbox.next('factor_enrolled')
  const user = { id: 'ada', roles: ['reader'] }
  const { accessToken } = await app.sessions.start(user, { amr: ['pwd', 'otp'] })
  const later = await changeAddress(built, accessToken)
  t.equal((await post('/email/undo', { token })).statusCode, 204, 'the later link left it valid')
  t.same([table.rows[0]!.email, ...enrolled], ['ada@example.com'])
  t.same(refusalOf(await post('/email/undo', { token: later })), refused)
})

await t.test('a way back whose factors could not be removed can be used again', async (t) => {
  let isDown = true
  const removed: string[] = []
  const { post, mailbox, enrol, logIn, refuses } = await buildWithFactors(t, {
    async removeAll(id) {
      if (isDown) throw new Error('no database')
      removed.push(id)
    },
  })
  const thief = await logIn()
  await enrol()
  const { token } = await mailbox.next('factor_enrolled')
  const unavailable = [503, 'PARAPET_SESSIONS_UNAVAILABLE']
  t.same(refusalOf(await post('/email/undo', { token })), unavailable)
  await refuses(thief, 'the thief is out already')
  isDown = false
  t.equal((await post('/email/undo', { token })).statusCode, 204)
  t.same(removed, ['ada'])
})
