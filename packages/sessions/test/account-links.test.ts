/** Links in messages: reset, verification, magic links. */
import { EventEmitter, once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createManualClock, createMemoryJobs, createMemoryStore } from '@parapet/kit'
import t from 'tap'
import { hashSecret, readLinkToken, TOKEN_LIFETIMES_MS } from '../src/accounts/account-tokens.ts'
import { buildAccounts, createTable, newPassword, password } from './accounts.ts'
import { codeOf, eventsOf, refusalOf } from './build.ts'

const refused = [401, 'PARAPET_SESSIONS_LINK_REFUSED']
const failed = [401, 'PARAPET_SESSIONS_LOGIN_FAILED']
const minutes = (count: number): number => count * 60_000

await t.test('a reset replaces the password and ends all sessions and API keys', async (t) => {
  const { app, post, logIn, resetToken, mailbox, refuses, events } = await buildAccounts(t)
  const token = await logIn()
  const { text: secret } = await app.sessions.apiKeys.create({
    ownerId: 'ada',
    name: 'ci',
    scopes: [],
  })
  const link = await resetToken()
  t.equal((await post('/password/reset', { token: link, password: newPassword })).statusCode, 204)
  await refuses(token, 'the session before')
  await refuses(secret, 'the API key')
  t.same(refusalOf(await post('/login', { login: 'ada@example.com', password })), failed)
  t.ok(await logIn('ada@example.com', newPassword))
  const notice = await mailbox.next('password_reset')
  t.match(notice, { email: 'ada@example.com', details: { ip: '127.0.0.1' } })
  t.match(eventsOf(events, 'sessions.password_reset'), [{ principalId: 'ada' }])
  t.equal(JSON.stringify(events).includes(link), false, 'no event has the token')
})

await t.test('API keys stay if the user says so', async (t) => {
  const { app, post, resetToken, ask } = await buildAccounts(t)
  const { text: secret } = await app.sessions.apiKeys.create({
    ownerId: 'ada',
    name: 'ci',
    scopes: [],
  })
  const token = await resetToken()
  await post('/password/reset', { token, password: newPassword, keepApiKeys: true })
  t.equal((await ask(secret)).status, 200)
})

await t.test('a link works once, and of two clicks at once one wins', async (t) => {
  const { post, resetToken, table, logIn } = await buildAccounts(t)
  const token = await resetToken()
  const clicks = [newPassword, `${newPassword} too`].map((each) =>
    post('/password/reset', { token, password: each }),
  )
  const statuses = (await Promise.all(clicks)).map(({ statusCode }) => statusCode)
  t.same(new Set(statuses), new Set([204, 401]))
  t.equal(table.counts.saves, 1)
  const winner = statuses[0] === 204 ? newPassword : `${newPassword} too`
  t.ok(await logIn('ada@example.com', winner))
  t.same(refusalOf(await post('/password/reset', { token, password: newPassword })), refused)
})

await t.test('a link is refused when anything has changed since it was sent', async (t) => {
  const built = await buildAccounts(t)
  const { app, post, resetToken, clock, table } = built
  const use = async (token: string) =>
    refusalOf(await post('/password/reset', { token, password: newPassword }))

  const older = await resetToken()
  const newer = await resetToken()
  t.same(await use(older), refused, 'after a newer one')

  clock.advance(minutes(16))
  t.same(await use(newer), refused, '16 minutes later')

  const beforeChange = await resetToken()
  const access = await built.logIn()
  const change = { current: password, password: `${newPassword} again` }
  t.equal((await post('/password', change, access)).statusCode, 204)
  t.same(await use(beforeChange), refused, 'after the password changed')

  const beforeEnd = await resetToken()
  await app.sessions.revoke({ userId: 'ada' })
  t.same(await use(beforeEnd), refused, 'after all sessions were ended')

  const ofAda = (await resetToken()).split('.')
  const ofEve = (await resetToken('eve@example.com')).split('.')
  t.same(await use([ofAda[0], ofEve[1], ofAda[2]].join('.')), refused, 'for another account')
  t.same(await use(['magic', ofAda[1], ofAda[2]].join('.')), refused, 'for another purpose')
  t.same(await use(`${ofAda.join('.')}.`), refused, 'with a byte more')
  t.same(await use(ofAda.join('.').toUpperCase()), refused, 'in another case')

  table.rows[0]!.disabled = true
  t.same(await use(ofAda.join('.')), refused, 'for a disabled account')
  table.rows[0]!.disabled = false
  t.equal(
    (await post('/password/reset', { token: ofAda.join('.'), password: newPassword })).statusCode,
    204,
  )
})

await t.test('a password that the policy refuses leaves the link valid', async (t) => {
  const { post, resetToken, table } = await buildAccounts(t)
  const token = await resetToken()
  const weak = await post('/password/reset', { token, password: 'passwordpassword' })
  t.same(refusalOf(weak), [400, 'PARAPET_SESSIONS_PASSWORD_REFUSED'])
  t.match(weak.json(), { message: /one of the most common/ })
  t.equal(table.counts.saves, 0)
  const own = await post('/password/reset', { token, password: 'ada.lovelace 1815' })
  t.match(own.json(), { message: /the name or the address/ })
  t.equal((await post('/password/reset', { token, password: newPassword })).statusCode, 204)
})

await t.test('the token is in the fragment, and only its hash is stored', async (t) => {
  const { post, mailbox } = await buildAccounts(t)
  await post('/password/forgot', { email: 'ADA@example.com' })
  const { link, token, email } = await mailbox.next('reset')
  t.equal(link, `https://app.example.com/reset#token=${token}`)
  t.equal(email, 'ada@example.com', 'sent to the stored address, not to the typed one')
  t.match(token, /^reset\.YWRh\.[\w-]{43}$/)
})

await t.test('the same response for known and unknown addresses, without a lookup', async (t) => {
  const { directory } = createTable()
  // If an answer depended on the lookup, it would not come before the end of the test.
  const lookup = new EventEmitter()
  const ended = once(lookup, 'end')
  const never = {
    ...directory,
    findByEmail: async () => {
      await ended
      return null
    },
  }
  const { post, events } = await buildAccounts(t, {}, { directory: never })
  for (const path of ['/password/forgot', '/email/verification', '/login/magic-link']) {
    const replies = new Set<string>()
    for (const email of ['ada@example.com', 'nobody@example.com', 'a\ud800@b', '@@@']) {
      const { statusCode, body, headers } = await post(path, { email })
      replies.add(JSON.stringify({ statusCode, body, length: headers['content-length'] }))
    }
    t.same([...replies], ['{"statusCode":202,"body":"{\\"accepted\\":true}","length":"17"}'], path)
  }
  const kinds = eventsOf(events, 'sessions.link_requested').map(({ details }) => details)
  t.equal(kinds.length, 9, 'text that is no address is not looked up at all')
  t.equal(JSON.stringify(kinds).includes('@'), false, 'no event has the address')
  lookup.emit('end')
})

await t.test('an address gets at most five messages of a kind in an hour', async (t) => {
  const { app, post, mailbox, clock } = await buildAccounts(t)
  for (let count = 0; count < 9; count++)
    await post('/password/forgot', { email: 'ada@example.com' })
  // Jobs run in their order, so this message comes last.
  await post('/login/magic-link', { email: 'ada@example.com' })
  await mailbox.next('magic')
  t.equal(mailbox.sent.filter(({ kind }) => kind === 'reset').length, 5)
  // Otherwise anyone could keep the owner out by asking for links before.
  await app.sessions.requirePasswordReset('ada')
  for (let count = 0; count < 6; count++) await mailbox.next('reset')
  clock.advance(minutes(121))
  await post('/password/forgot', { email: 'ada@example.com' })
  await mailbox.next('reset')
})

await t.test('a sign-up is verified with the link and its password', async (t) => {
  const { app, post, mailbox, table, logIn, events } = await buildAccounts(t)
  table.rows[0]!.isEmailVerified = false
  t.equal(await logIn(), undefined, 'no login before')
  await app.sessions.account.signedUp('ada@example.com')
  const { token } = await mailbox.next('verify')
  t.same(refusalOf(await post('/email/verify', { token })), failed, 'without the password')
  const guessed = { token, password: 'the password of another' }
  t.same(refusalOf(await post('/email/verify', guessed)), failed)
  t.equal(table.rows[0]!.isEmailVerified, false)
  t.equal((await post('/email/verify', { token, password })).statusCode, 204)
  t.ok(await logIn())
  t.same(refusalOf(await post('/email/verify', { token, password })), refused, 'used')
  t.match(eventsOf(events, 'sessions.email_verified'), [{ principalId: 'ada' }])

  await app.sessions.account.signedUp('ada@example.com')
  t.match(await mailbox.next('address_in_use'), {
    kind: 'address_in_use',
    email: 'ada@example.com',
  })
})

await t.test('ten wrong passwords end a link; a day ends it, too', async (t) => {
  const { post, mailbox, table, clock } = await buildAccounts(t)
  table.rows[0]!.isEmailVerified = false
  const ask = async () => {
    await post('/email/verification', { email: 'ada@example.com' })
    return (await mailbox.next('verify')).token
  }
  const token = await ask()
  for (let count = 0; count < 10; count++) {
    await post('/email/verify', { token, password: `wrong ${count}` })
  }
  t.same(refusalOf(await post('/email/verify', { token, password })), refused)
  const late = await ask()
  clock.advance(TOKEN_LIFETIMES_MS.verify)
  t.same(refusalOf(await post('/email/verify', { token: late, password })), refused)
})

await t.test('a reset verifies the address, because its link came there', async (t) => {
  const { post, resetToken, table, logIn } = await buildAccounts(t)
  table.rows[0]!.isEmailVerified = false
  const token = await resetToken()
  await post('/password/reset', { token, password: newPassword })
  t.ok(await logIn('ada@example.com', newPassword))
})

await t.test('a magic link logs in once, for ten minutes, to a verified address', async (t) => {
  const { app, post, mailbox, table, ask, clock } = await buildAccounts(t)
  const request = async () => {
    await post('/login/magic-link', { email: 'ada@example.com' })
    return (await mailbox.next('magic')).token
  }
  const token = await request()
  const replies = await Promise.all([1, 2].map(() => post('/login/magic-link/finish', { token })))
  t.same(new Set(replies.map(({ statusCode }) => statusCode)), new Set([200, 401]))
  const { access_token: access } = replies
    .find(({ statusCode }) => statusCode === 200)!
    .json<{ access_token: string }>()
  t.equal((await ask(access)).status, 200)
  t.match((await app.sessions.verify(access)).amr, ['email'])
  const late = await request()
  clock.advance(minutes(10))
  t.same(refusalOf(await post('/login/magic-link/finish', { token: late })), refused)
  table.rows[0]!.isEmailVerified = false
  await post('/login/magic-link', { email: 'ada@example.com' })
  await post('/password/forgot', { email: 'ada@example.com' })
  await mailbox.next('reset')
  t.equal(mailbox.sent.filter(({ kind }) => kind === 'magic').length, 2)
})

await t.test('a message that cannot be sent is tried again with a new link', async (t) => {
  let failures = 2
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const jobs = createMemoryJobs({ clock, onNotice: () => {}, onError: () => {} })
  t.after(() => jobs.close())
  const built = await buildAccounts(t, {}, { jobs })
  await jobs.start()
  const { messages } = built.mailbox
  const send = messages.sendPasswordReset.bind(messages)
  Object.assign(messages, {
    sendPasswordReset: async (message: Parameters<typeof send>[0]) => {
      if (failures-- > 0) throw new Error('451 try again')
      return send(message)
    },
  })
  await built.post('/password/forgot', { email: 'ada@example.com' })
  while (built.mailbox.sent.length === 0) {
    clock.advance(1000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { token } = await built.mailbox.next('reset')
  t.equal((await built.post('/password/reset', { token, password: newPassword })).statusCode, 204)
})

await t.test('a message of a newer version is left to an instance that knows it', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const failures: unknown[] = []
  const onError = (error: unknown) => void failures.push(error)
  const jobs = createMemoryJobs({ clock, onNotice: () => {}, onError })
  t.after(() => jobs.close())
  await buildAccounts(t, { clock }, { jobs })
  await jobs.start()
  await jobs.enqueue('sessions.mail', { kind: 'new', email: '', userId: 'ada', at: 0 })
  while (failures.length < 2) {
    clock.advance(1000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.match(failures[0], { message: /no message of the kind "new"/ })
})

await t.test('a changed record of a link is refused and reported', async (t) => {
  const store = createMemoryStore()
  const { post, resetToken, events } = await buildAccounts(t, { store })
  const token = await resetToken()
  const key = 'sessions:account-token:reset:ada'
  const text = (await store.get(key))!
  t.equal(text.includes(token.split('.')[2]!), false, 'the secret is not stored')
  await store.set(key, text.replace('ada@example.com', 'eve@example.com'), 60_000)
  t.same(refusalOf(await post('/password/reset', { token, password: newPassword })), refused)
  t.match(eventsOf(events, 'sessions.record_refused'), [
    { details: { record: 'account-token', reason: 'forged' } },
  ])
})

await t.test('without the option there are no routes', async (t) => {
  const { app } = await buildAccounts(t, { account: undefined } as never)
  const reply = await app.inject({
    method: 'POST',
    url: '/auth/password/forgot',
    body: { email: 'a@b.c' },
  })
  t.equal(reply.statusCode, 404)
  t.equal(codeOf(reply), undefined)
  await t.rejects(app.sessions.account.signedUp('a@b.c'), {
    code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
  })
})

interface Vectors {
  readonly valid: readonly {
    readonly purpose: string
    readonly userId: string
    readonly secret: string
    readonly token: string
    readonly hash: string
  }[]
  readonly refused: readonly {
    readonly fault: string
    readonly purpose: string
    readonly token: string
  }[]
}

await t.test('tokens are read as docs/spec/account-token.md says', async (t) => {
  const file = new URL('../../../docs/spec/vectors/account-token.json', import.meta.url)
  const vectors = JSON.parse(await readFile(file, 'utf8')) as Vectors
  for (const { purpose, token, userId, secret, hash } of vectors.valid) {
    t.same(readLinkToken(purpose, token), { userId, secret }, token)
    t.equal(hashSecret(secret), hash)
  }
  for (const { fault, purpose, token } of vectors.refused) {
    t.equal(readLinkToken(purpose, token), null, fault)
  }
})
