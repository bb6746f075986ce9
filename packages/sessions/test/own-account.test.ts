/** Changes of the own password and address, and the way back. */
import {
  createMemoryJobs,
  createSqlClient,
  type JobData,
  type JobHandler,
  type Jobs,
} from '@parapet/kit'
import { openPglite } from '@parapet/testing'
import t from 'tap'
import { buildAccounts, newPassword, password, type AccountApp } from './accounts.ts'
import { eventsOf, refusalOf } from './build.ts'

const refused = [401, 'PARAPET_SESSIONS_LINK_REFUSED']
const proof = [403, 'PARAPET_SESSIONS_PROOF_REQUIRED']
const HOUR = 3_600_000

await t.test(
  'a change of the password needs the current one, and ends all other sessions',
  async (t) => {
    const { app, post, logIn, ask, refuses, mailbox } = await buildAccounts(t)
    const [mine, other] = [await logIn(), await logIn()]
    const key = await app.sessions.apiKeys.create({ ownerId: 'ada', name: 'ci', scopes: [] })
    t.same(refusalOf(await post('/password', { password: newPassword }, mine)), proof)
    const wrong = { current: 'a wrong password', password: newPassword }
    t.same(refusalOf(await post('/password', wrong, mine)), proof)
    t.equal((await ask(other)).status, 200, 'nothing has ended')
    const body = { current: password, password: newPassword }
    t.equal((await post('/password', body, mine)).statusCode, 204)
    t.equal((await ask(mine)).status, 200, 'this session goes on')
    await refuses(other)
    await refuses(key.text, 'the API key')
    t.match(await mailbox.next('password_changed'), {
      kind: 'password_changed',
      email: 'ada@example.com',
    })
    t.same(refusalOf(await post('/password', body)), [401, 'PARAPET_SESSIONS_UNAUTHENTICATED'])
    t.same(
      refusalOf(await post('/password', body, mine)),
      proof,
      'the old one is no proof any more',
    )
  },
)

await t.test('a factor shown in the last five minutes is proof enough', async (t) => {
  const { app, post, clock } = await buildAccounts(t)
  const user = { id: 'ada', roles: ['reader'] }
  const start = (amr: string[]) => app.sessions.start(user, { amr })
  const fresh = (await start(['swk', 'user', 'mfa'])).accessToken
  const weak = (await start(['email'])).accessToken
  t.same(
    refusalOf(await post('/password', { password: newPassword }, weak)),
    proof,
    'a mailbox is none',
  )
  clock.advance(300_001)
  t.same(refusalOf(await post('/password', { password: newPassword }, fresh)), proof, 'too old')
  const again = (await start(['pwd', 'otp'])).accessToken
  t.equal((await post('/password', { password: newPassword }, again)).statusCode, 204)
})

await t.test('the current password cannot be guessed with a stolen token', async (t) => {
  const { post, logIn, table } = await buildAccounts(t)
  const token = await logIn()
  const before = table.rows[0]!.passwordHash
  const guesses = Array.from({ length: 20 }, (_, index) =>
    post('/password', { current: `guess ${index}`, password: newPassword }, token),
  )
  const statuses = (await Promise.all(guesses)).map(({ statusCode }) => statusCode)
  t.same(statuses.filter((status) => status === 403).length, 10)
  t.same(statuses.filter((status) => status === 429).length, 10)
  const right = await post('/password', { current: password, password: newPassword }, token)
  t.same(refusalOf(right), [429, 'PARAPET_SESSIONS_TOO_MANY_TRIES'])
  t.match(right.headers['retry-after'], /^\d+$/)
  t.equal(table.rows[0]!.passwordHash, before)
})

/** Asks for a change and returns the token that the new address got. */
async function requestChange({ post, mailbox }: AccountApp, token: string, email: string) {
  const reply = await post('/email', { current: password, email }, token)
  if (reply.statusCode !== 202) throw new Error(`the change got ${reply.statusCode}`)
  return (await mailbox.next('change')).token
}

await t.test('an address changes when the link in the new mailbox is used', async (t) => {
  const built = await buildAccounts(t)
  const { post, logIn, mailbox, table, events } = built
  const token = await logIn()
  const link = await requestChange(built, token, 'ada@new.example')
  t.equal(table.rows[0]!.email, 'ada@example.com', 'not before')
  t.match(await mailbox.next('email_change_requested'), {
    kind: 'email_change_requested',
    email: 'ada@example.com',
  })
  t.equal((await post('/email/verify', { token: link })).statusCode, 204)
  t.equal(table.rows[0]!.email, 'ada@new.example')
  const notice = await mailbox.next('email_changed')
  t.match(notice, {
    email: 'ada@example.com',
    link: /^https:\/\/app\.example\.com\/undo#token=undo\./,
  })
  t.match(eventsOf(events, 'sessions.email_changed'), [{ principalId: 'ada' }])
  t.ok(await logIn('ada@new.example'))
  t.same(refusalOf(await post('/email/verify', { token: link })), refused, 'used')
})

await t.test('the way back ends every access and asks for a new password', async (t) => {
  const built = await buildAccounts(t)
  const { app, post, logIn, mailbox, table, clock, refuses } = built
  const thief = await logIn()
  await post('/email/verify', { token: await requestChange(built, thief, 'eve@evil.example') })
  const { token } = await mailbox.next('email_changed')
  // What a thief does next: a new password, another address, a link that still waits.
  await post('/password', { current: password, password: 'the thief was here 99' }, thief)
  const reply = await post(
    '/email',
    { current: 'the thief was here 99', email: 'eve2@evil.example' },
    thief,
  )
  t.equal(reply.statusCode, 202)
  await post('/email/verify', { token: (await mailbox.next('change')).token })
  const ofThief = (await mailbox.next('email_changed')).token
  t.equal(table.rows[0]!.email, 'eve2@evil.example')
  clock.advance(71 * HOUR)
  t.equal((await post('/email/undo', { token })).statusCode, 204)
  t.equal(table.rows[0]!.email, 'ada@example.com')
  await refuses(thief)
  t.same(
    refusalOf(await post('/email/undo', { token: ofThief })),
    refused,
    'the way back of the thief',
  )
  t.same(refusalOf(await post('/email/undo', { token })), refused, 'used')
  t.equal(table.rows[0]!.email, 'ada@example.com')
  const login = { login: 'ada@example.com', password: 'the thief was here 99' }
  t.same(refusalOf(await post('/login', login)), [403, 'PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED'])
  const reset = await mailbox.next('reset')
  t.equal(reset.email, 'ada@example.com')
  t.equal(
    (await post('/password/reset', { token: reset.token, password: newPassword })).statusCode,
    204,
  )
  t.ok(await logIn('ada@example.com', newPassword))
  t.same((await app.sessions.accountStatus('ada')).passwordResetRequired, false)
})

await t.test('an address that nobody has verified gets no way back', async (t) => {
  // A typing error at the sign-up: the mailbox is that of someone else.
  const { app, post, mailbox, table, events } = await buildAccounts(t)
  const row = table.rows.find(({ id }) => id === 'eve')!
  row.isEmailVerified = false
  const { accessToken } = await app.sessions.start({ id: 'eve', roles: [] })
  const change = { current: password, email: 'eve@right.example' }
  t.equal((await post('/email', change, accessToken)).statusCode, 202)
  const { token } = await mailbox.next('change')
  t.equal((await post('/email/verify', { token })).statusCode, 204)
  t.match(row, { email: 'eve@right.example', isEmailVerified: true })
  t.equal(eventsOf(events, 'sessions.email_changed').length, 1)
  await app.sessions.account.notify('ada', 'impersonated')
  await mailbox.next('impersonated')
  t.notOk(mailbox.sent.some(({ kind }) => kind === 'email_changed'))
})

await t.test('the way back is closed after 72 hours', async (t) => {
  const built = await buildAccounts(t)
  await built.post('/email/verify', {
    token: await requestChange(built, await built.logIn(), 'ada@new.example'),
  })
  const { token } = await built.mailbox.next('email_changed')
  built.clock.advance(72 * HOUR)
  t.same(refusalOf(await built.post('/email/undo', { token })), refused)
  t.equal(built.table.rows[0]!.email, 'ada@new.example')
})

await t.test('a taken address gets the same response, and its owner a notice', async (t) => {
  const { post, logIn, mailbox, table } = await buildAccounts(t)
  const token = await logIn()
  const replies = []
  for (const email of ['eve@example.com', 'free@example.com']) {
    const { statusCode, body } = await post('/email', { current: password, email }, token)
    replies.push({ statusCode, body })
  }
  t.same(replies[0], replies[1])
  t.match(await mailbox.next('address_in_use'), { email: 'eve@example.com' })
  t.match(await mailbox.next('change'), { email: 'free@example.com' })
  t.equal(table.rows[0]!.email, 'ada@example.com')
})

await t.test(
  'an address that is taken meanwhile is not changed, and nobody gets a way back',
  async (t) => {
    const built = await buildAccounts(t)
    const { post, logIn, mailbox, table } = built
    const link = await requestChange(built, await logIn(), 'late@example.com')
    table.rows[1]!.email = 'late@example.com'
    t.same(refusalOf(await post('/email/verify', { token: link })), refused)
    t.equal(table.rows[0]!.email, 'ada@example.com')
    await post('/password/forgot', { email: 'ada@example.com' })
    await mailbox.next('reset')
    t.equal(
      mailbox.sent.some(({ kind }) => kind === 'email_changed'),
      false,
    )
  },
)

await t.test('a new address is one plain mailbox', async (t) => {
  const { post, logIn, mailbox } = await buildAccounts(t)
  const token = await logIn()
  for (const email of [
    'no at sign',
    'a@x.example,b@y.example',
    'a@x.example;b@y.example',
    'x@example.com\r\nBcc: z@z.example',
    'Ada <x@example.com>',
    '"x@evil.example y"@in.example',
    'group:a@b.example',
    'a@b@c.example',
    'a@b .example',
    'a\u0000@b.example',
    '@b.example',
  ]) {
    const reply = await post('/email', { current: password, email }, token)
    t.equal(reply.statusCode, 400, JSON.stringify(email))
  }
  const email = "o'neil+tag/用户@例子.example"
  t.equal((await post('/email', { current: password, email }, token)).statusCode, 202)
  t.equal((await mailbox.next('change')).email, email)
})

await t.test('a sign-up that nobody verified keeps nobody out of an address', async (t) => {
  const built = await buildAccounts(t)
  const { post, logIn, mailbox, table } = built
  const squat = (email: string) =>
    table.rows.push({ id: 'squatter', email, isEmailVerified: false, passwordHash: null })
  squat('new@example.com')
  await post('/email/verify', {
    token: await requestChange(built, await logIn(), 'new@example.com'),
  })
  t.equal(table.rows[0]!.email, 'new@example.com')
  const { token } = await mailbox.next('email_changed')
  squat('ada@example.com')
  t.equal((await post('/email/undo', { token })).statusCode, 204)
  t.equal(table.rows[0]!.email, 'ada@example.com')
  t.equal(
    table.rows.some(({ id }) => id === 'squatter'),
    false,
  )
})

await t.test('a former address is deleted when its way back has ended', async (t) => {
  const pglite = await openPglite()
  t.after(() => pglite.close())
  const sql = createSqlClient(pglite)
  const queue = createMemoryJobs({ pollMs: 10, onNotice: () => {} })
  await queue.start()
  t.after(() => queue.close())
  // Runs what is due later only when the test says so.
  let handler: JobHandler | undefined
  const later: { readonly data: JobData; readonly at: number | undefined }[] = []
  const jobs: Pick<Jobs, 'define' | 'enqueue' | 'cancel'> = {
    define(name, handle, options) {
      handler = handle as JobHandler
      queue.define(name, handle, options)
    },
    async enqueue(name, data, options) {
      if (data['kind'] !== 'expire') return queue.enqueue(name, data, options)
      later.push({ data, at: options?.at })
      return { id: 'later', key: 'later', isNew: true }
    },
    cancel: (...job) => queue.cancel(...job),
  }
  const built = await buildAccounts(t, { sql }, { jobs: jobs as Jobs })
  const { post, logIn, mailbox, clock } = built
  const rows = async () => (await sql.query('SELECT 1 FROM sessions_accounts')).rows.length
  const now = clock.now()
  await post('/email/verify', {
    token: await requestChange(built, await logIn(), 'new@example.com'),
  })
  await mailbox.next('email_changed')
  const [expiry] = later
  t.equal(expiry?.at, now + 72 * HOUR)
  const run = () => handler!({ data: expiry!.data, attempt: 1 } as Parameters<JobHandler>[0])
  await run()
  t.equal(await rows(), 1, 'not before')
  clock.advance(72 * HOUR)
  await run()
  t.equal(await rows(), 0)
})

await t.test('what is stored of a deleted user is deleted, also a forged lock', async (t) => {
  const pglite = await openPglite()
  t.after(() => pglite.close())
  const sql = createSqlClient(pglite)
  const built = await buildAccounts(t, { sql })
  const { app, post, logIn, resetToken, refuses } = built
  const token = await logIn()
  const link = await resetToken()
  await app.sessions.forceSecondFactor('eve')
  await app.sessions.lockAccount('ada', { reason: 'fraud' })
  await sql.query(`UPDATE sessions_accounts SET state = replace(state, 'fraud', 'fun')`)
  await app.sessions.forgetUser('ada')
  const { rows } = await sql.query('SELECT user_id FROM sessions_accounts')
  t.same(rows, [{ user_id: 'eve' }])
  await refuses(token)
  t.same(refusalOf(await post('/password/reset', { token: link, password: newPassword })), refused)
  await t.rejects(app.sessions.forgetUser(''), { code: 'PARAPET_SESSIONS_INVALID_ARGUMENT' })
})

await t.test('a link to a new address ends with the sessions and with the address', async (t) => {
  const built = await buildAccounts(t)
  const { app, post, logIn, table } = built
  const first = await requestChange(built, await logIn(), 'one@example.com')
  await app.sessions.revoke({ userId: 'ada' })
  t.same(refusalOf(await post('/email/verify', { token: first })), refused)
  const second = await requestChange(built, await logIn(), 'two@example.com')
  table.rows[0]!.email = 'moved@example.com'
  t.same(refusalOf(await post('/email/verify', { token: second })), refused)
})

await t.test('six changes within 72 hours do not push the first address out', async (t) => {
  const built = await buildAccounts(t)
  const { post, logIn, mailbox, table } = built
  let undo = ''
  for (let count = 0; count < 5; count++) {
    const access = await logIn(table.rows[0]!.email)
    const link = await requestChange(built, access, `ada${count}@example.com`)
    t.equal((await post('/email/verify', { token: link })).statusCode, 204)
    const notice = await mailbox.next('email_changed')
    undo ||= notice.token
  }
  const link = await requestChange(built, await logIn('ada4@example.com'), 'ada5@example.com')
  t.same(refusalOf(await post('/email/verify', { token: link })), refused)
  t.equal((await post('/email/undo', { token: undo })).statusCode, 204)
  t.equal(table.rows[0]!.email, 'ada@example.com')
})

await t.test('who has a second factor must have shown it, whatever the password', async (t) => {
  const cookies: unknown[] = []
  const { app, post, logIn, clock } = await buildAccounts(t, {
    secondFactor: {
      methodsOf: async (_id, { request }) => {
        cookies.push(request.headers.cookie)
        return ['totp']
      },
      verify: async () => ({ amr: ['otp'] }),
    },
  })
  t.equal(await logIn(), undefined, 'the login has two steps')
  const start = (amr: string[]) => app.sessions.start({ id: 'ada', roles: [] }, { amr })
  const body = { current: password, password: newPassword }
  const weak = (await start(['pwd'])).accessToken
  const headers = { authorization: `Bearer ${weak}`, cookie: 'device=1' }
  const reply = await app.inject({
    method: 'POST',
    url: '/auth/password',
    body,
    headers,
  })
  t.same(refusalOf(reply), [401, 'PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED'])
  t.match(reply.headers['www-authenticate'], 'insufficient_user_authentication", max_age="300"')
  t.equal(cookies.at(-1), undefined, 'a remembered device is no factor here')
  const strong = (await start(['pwd', 'otp'])).accessToken
  clock.advance(300_001)
  t.equal((await post('/password', body, strong)).statusCode, 401, 'too old')
  const fresh = (await start(['pwd', 'otp'])).accessToken
  t.equal((await post('/password', { password: newPassword }, fresh)).statusCode, 204)
})
