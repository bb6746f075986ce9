/** The life of an account, with messages over real SMTP. */
import { once } from 'node:events'
import { URI, type TOTP } from 'otpauth'
import { SMTPServer } from 'smtp-server'
import t, { type Test } from 'tap'
import { createSendMail } from '../src/mail/transport.ts'
import { enrol } from './support/enrol.ts'
import { createMailbox, tokenIn, type Mailbox } from './support/mailbox.ts'
import {
  createClient,
  createTestApp,
  openDatabase,
  password,
  sessionEnded,
} from './support/test-app.ts'

const database = await openDatabase(t)
const newPassword = 'seven purple tandem otters'
const lastPassword = 'nine slow orange lanterns'
const linkRefused = { status: 401, code: 'PARAPET_SESSIONS_LINK_REFUSED' }
const loginFailed = { status: 401, code: 'PARAPET_SESSIONS_LOGIN_FAILED' }

const bearer = (token: unknown) => ({ authorization: `Bearer ${String(token)}` })

/** A mail server that keeps what it gets. */
async function startSmtp(t: Test): Promise<{ readonly url: string; readonly mailbox: Mailbox }> {
  const mailbox = createMailbox()
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData(stream, session, done) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => void chunks.push(chunk))
      stream.on('end', () => {
        const raw = Buffer.concat(chunks).toString()
        const to = session.envelope.rcptTo.map(({ address }) => address).join()
        const subject = /^Subject: (.*)$/m.exec(raw)?.[1] ?? ''
        // Quoted-printable.
        const text = raw.replaceAll(/=\r?\n/g, '').replaceAll('=3D', '=')
        void mailbox.sendMail({ to, userId: '', subject, text })
        done()
      })
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  t.after(() => new Promise<void>((resolve) => server.close(resolve)))
  const { port } = server.server.address() as { port: number }
  return { url: `smtp://127.0.0.1:${port}`, mailbox }
}

await t.test('from the sign-up to the way back', async (t) => {
  const { url, mailbox } = await startSmtp(t)
  const sendMail = createSendMail({ smtpUrl: url, outboxDir: '', from: 'no-reply@example.com' })
  const { app, ask, refuse, logIn } = await createTestApp(t, database, {}, { sendMail })
  /** Another device: the limit of logins is of an address. */
  const elsewhere = createClient(app, database, { remoteAddress: '198.51.100.7' })
  const email = 'ada@example.com'
  const post = (path: string, body: object, who = {}) => ask(who, 'POST', `/api/v1${path}`, body)
  const refused = (path: string, body: object, refusal = linkRefused) =>
    refuse(t, refusal, {}, 'POST', `/api/v1${path}`, body)

  // Sign up, and log in after the address was verified. Five logins in a minute are the limit of an address.
  const user = { email, displayName: 'Ada Lovelace', password }
  t.equal((await post('/users', user)).status, 202)
  const verify = { token: await mailbox.tokenTo(email), password }
  t.equal((await post('/auth/email/verify', verify)).status, 204)
  const first = (await logIn(email, password)).body
  t.match(first, { token_type: 'Bearer' })

  // A second factor, a logout, and a login in two steps.
  const begun = (await post('/mfa/totp', {}, bearer(first['access_token']))).body
  const totp = URI.parse(String(begun['uri'])) as TOTP
  const confirm = { ticket: begun['ticket'], code: totp.generate() }
  const strong = (await post('/mfa/totp/confirm', confirm, bearer(first['access_token']))).body
  t.match(strong, { aal: 2 })
  const key = await app.sessions.apiKeys.create({
    ownerId: String(
      (await ask(bearer(strong['access_token']), 'GET', '/api/v1/users/me')).body['id'],
    ),
    name: 'ci',
    scopes: ['users:read'],
  })
  const codes = begun['backupCodes'] as string[]
  const logInElsewhere = async (secret: string, code: string) => {
    const { ticket } = (await elsewhere.logIn(email, secret)).body
    const url = '/api/v1/auth/login/second-factor'
    return (await elsewhere.ask({}, 'POST', url, { ticket, code })).body
  }
  const phone = await logInElsewhere(password, codes[2]!)
  t.equal((await post('/auth/logout', {}, bearer(strong['access_token']))).status, 204)
  await refuse(t, sessionEnded, bearer(strong['access_token']), 'GET', '/api/v1/users/me')
  const step = await logIn(email, password)
  t.match(step, { status: 202, body: { methods: ['totp', 'backup-code'] } })
  const proof = {
    ticket: step.body['ticket'],
    code: totp.generate({ timestamp: Date.now() + 30_000 }),
  }
  const second = (await post('/auth/login/second-factor', proof)).body
  for (const live of [second['access_token'], phone['access_token']]) {
    t.equal((await ask(bearer(live), 'GET', '/api/v1/users/me')).status, 200)
  }
  const byKey = await ask(bearer(key.text), 'GET', '/api/v1/users/me')
  t.equal(byKey.status, 403, 'the key is known; the route asks its owner for a second factor')
  const renewed = await post('/auth/refresh', { refresh_token: second['refresh_token'] })
  t.equal(renewed.status, 200)

  // A forgotten password: every older session and token is dead.
  await post('/auth/password/forgot', { email: email.toUpperCase() })
  const reset = {
    token: await mailbox.tokenTo(email, /Set a new password within/),
    password: newPassword,
  }
  t.equal((await post('/auth/password/reset', reset)).status, 204)
  await mailbox.find(email, /was reset by a link/)
  const refreshRefused = { status: 401, code: 'PARAPET_SESSIONS_REFRESH_REFUSED' }
  const older = [first, strong, second, renewed.body, phone]
  for (const tokens of older) {
    await refuse(t, sessionEnded, bearer(tokens['access_token']), 'GET', '/api/v1/users/me')
    await refused('/auth/refresh', { refresh_token: tokens['refresh_token'] }, refreshRefused)
  }
  await refuse(t, sessionEnded, bearer(key.text), 'GET', '/api/v1/users/me')
  t.same(await app.sessions.list(key.key.ownerId), [], 'no session is left')
  await refused('/auth/email/verify', verify)
  await refused('/auth/login', { login: email, password }, loginFailed)
  await refused('/auth/password/reset', reset)
  const again = await logIn(email, newPassword)
  t.equal(again.status, 202, 'the reset did not replace the second factor')
  const backup = { ticket: again.body['ticket'], code: codes[0] }
  const third = (await post('/auth/login/second-factor', backup)).body

  // Another address: the old one gets a notice, and takes it back.
  const change = { email: 'ada@elsewhere.example', current: newPassword }
  t.equal((await post('/auth/email', change, bearer(third['access_token']))).status, 202)
  await mailbox.find(email, /asked to change the address/)
  const link = await mailbox.find(change.email, /Use this address/)
  t.equal((await post('/auth/email/verify', { token: tokenIn(link.text) })).status, 204)
  t.match((await ask(bearer(third['access_token']), 'GET', '/api/v1/users/me')).body, {
    email: change.email,
  })
  const notice = await mailbox.find(email, /go to another address now/)
  const undo = { token: tokenIn(notice.text) }
  t.equal((await post('/auth/email/undo', undo)).status, 204)
  await refuse(t, sessionEnded, bearer(third['access_token']), 'GET', '/api/v1/users/me')
  await refused('/auth/refresh', { refresh_token: third['refresh_token'] }, refreshRefused)
  await refused('/auth/email/undo', undo)
  await refused('/auth/email/verify', { token: tokenIn(link.text) })
  const due = await logIn(email, newPassword)
  t.equal(due.status, 202, 'the second step comes before the refusal')
  const lastCode = { ticket: due.body['ticket'], code: codes[1] }
  const resetRequired = { status: 403, code: 'PARAPET_SESSIONS_PASSWORD_RESET_REQUIRED' }
  await refused('/auth/login/second-factor', lastCode, resetRequired)
  await mailbox.find(email, /A link to set a new password follows/)

  // The link that follows, and not the one of before.
  const another = new RegExp(`Set a new password within(?![^]*${reset.token})`)
  const last = { token: await mailbox.tokenTo(email, another), password: lastPassword }
  t.equal((await post('/auth/password/reset', last)).status, 204)
  const back = await logInElsewhere(lastPassword, codes[3]!)
  t.match((await ask(bearer(back['access_token']), 'GET', '/api/v1/users/me')).body, { email })
})

await t.test('a factor that a thief enrolled goes by the way back in its notice', async (t) => {
  const mailbox = createMailbox()
  const { sendMail } = mailbox
  const { ask, register, logIn } = await createTestApp(t, database, {}, { sendMail })
  const post = (path: string, body: object, who = {}) => ask(who, 'POST', `/api/v1${path}`, body)
  const { email } = await register('viewer')
  const { headers: thief } = await enrol(
    ask,
    bearer((await logIn(email, password)).body['access_token']),
  )
  const notice = await mailbox.find(email, /Logins to your account ask for it now/)
  t.match(notice.text, /factor: totp\nip: 127\.0\.0\.1/)

  // A new password alone leaves the owner outside.
  await post('/auth/password/forgot', { email })
  const reset = { token: await mailbox.tokenTo(email, /Set a new password/), password: newPassword }
  t.equal((await post('/auth/password/reset', reset)).status, 204)
  t.equal((await logIn(email, newPassword)).status, 202, 'the code of the thief is asked for')

  t.equal((await post('/auth/email/undo', { token: tokenIn(notice.text) })).status, 204)
  await mailbox.find(email, /The second factors were removed/)
  const another = new RegExp(`Set a new password within(?![^]*${reset.token})`)
  const last = { token: await mailbox.tokenTo(email, another), password: lastPassword }
  t.equal((await post('/auth/password/reset', last)).status, 204)
  t.equal((await logIn(email, lastPassword)).status, 200)
  t.equal((await ask(thief, 'GET', '/api/v1/users/me')).status, 401)
})

await t.test('a mail server that is away delays a message and nothing else', async (t) => {
  let failures = 1
  const mailbox = createMailbox()
  const { ask } = await createTestApp(
    t,
    database,
    {},
    {
      async sendMail(mail) {
        if (failures-- > 0) throw new Error('connect ECONNREFUSED')
        await mailbox.sendMail(mail)
      },
    },
  )
  const user = { email: 'ada@example.com', displayName: 'Ada', password }
  t.equal((await ask({}, 'POST', '/api/v1/users', user)).status, 202)
  // The timers of jobs do not keep the process alive.
  const alive = setInterval(() => {}, 1000)
  t.after(() => clearInterval(alive))
  t.ok(await mailbox.tokenTo(user.email))
})
