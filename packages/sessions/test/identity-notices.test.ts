/** What the owner of an account learns of changes of its links, and what the way back to an address does to them. */
import t, { type Test } from 'tap'
import { accountOptions, password } from './accounts.ts'
import { eventsOf, refusalOf } from './build.ts'
import { Browser, buildService } from './provider-visits.ts'
import { startProvider } from './real-provider.ts'

const identity = (subject: string) => ({ provider: 'acme', subject })

async function start(t: Test) {
  const { issuer } = await startProvider(t)
  const { mailbox, table, jobs, options } = accountOptions(t)
  const built = await buildService(t, { issuer }, { ...options, linking: {} })
  await built.app.ready()
  await jobs.start()
  const browser = new Browser(built.app)
  const logIn = (secret = password) =>
    browser.send('POST', '/auth/login', { login: 'ada@example.com', password: secret })
  await logIn()
  return { ...built, browser, logIn, mailbox, table }
}

await t.test('the owner gets a notice of a new link, and of a link that was removed', async (t) => {
  const { app, browser, mailbox } = await start(t)
  t.equal((await browser.visit('/auth/identities/acme')).statusCode, 303)
  const linked = await mailbox.next('identity_linked')
  t.match(linked, { email: 'ada@example.com', details: { provider: 'acme', ip: '127.0.0.1' } })
  await browser.visit('/auth/identities/acme')
  const [link] = await app.sessions.listIdentities('ada')
  t.equal((await browser.send('DELETE', `/auth/identities/${link!.id}`)).statusCode, 204)
  const removed = await mailbox.next('identity_unlinked')
  t.match(removed, { email: 'ada@example.com', details: { provider: 'acme', ip: '127.0.0.1' } })

  await app.sessions.linkIdentity('ada', identity('by the service'))
  t.same((await mailbox.next('identity_linked')).details, { provider: 'acme' })
  const kinds = mailbox.sent.filter(({ kind }) => kind === 'identity_linked')
  t.equal(kinds.length, 2, 'linking again changes nothing, and is no notice')
})

await t.test('a reset that verifies an address leaves no way in from before it', async (t) => {
  // Someone has signed up with the address of a person who has no account yet, and waits.
  const { app, browser, mailbox, table } = await start(t)
  const row = table.rows[0]!
  row.isEmailVerified = false
  await browser.visit('/auth/identities/acme')
  const key = await app.sessions.apiKeys.create({ ownerId: 'ada', name: 'ci', scopes: [] })
  const owner = new Browser(app)
  await owner.send('POST', '/auth/password/forgot', { email: 'ada@example.com' })
  const { token } = await mailbox.next('reset')
  const reset = { token, password: 'seven purple tandem otters', keepApiKeys: true }
  t.equal((await owner.send('POST', '/auth/password/reset', reset)).statusCode, 204)
  t.equal(row.isEmailVerified, true)
  t.same(await app.sessions.listIdentities('ada'), [])
  const headers = { authorization: `Bearer ${key.text}` }
  t.equal((await app.inject({ url: '/me', headers })).statusCode, 401, 'nor an API key')
  const thief = new Browser(app)
  await thief.signOn()
  t.equal((await thief.me()).id, 'acme:alice', 'the identity is itself')

  await app.sessions.linkIdentity('ada', identity('own'))
  await owner.send('POST', '/auth/password/forgot', { email: 'ada@example.com' })
  const again = {
    token: (await mailbox.next('reset')).token,
    password: 'nine slow orange lanterns',
  }
  t.equal((await owner.send('POST', '/auth/password/reset', again)).statusCode, 204)
  t.equal((await app.sessions.listIdentities('ada')).length, 1, 'links of a verified account stay')
})

await t.test('the way back to an address removes what was linked since the change', async (t) => {
  const { app, browser, clock, events, mailbox } = await start(t)
  await app.sessions.linkIdentity('ada', identity('own'))
  clock.advance(10_000)
  // Someone with the session and the password of the owner.
  await browser.send('POST', '/auth/email', { current: password, email: 'thief@example.com' })
  const { token } = await mailbox.next('change')
  t.equal((await browser.send('POST', '/auth/email/verify', { token })).statusCode, 204)
  // At an instance whose clock is behind.
  clock.advance(-1000)
  t.equal((await browser.visit('/auth/identities/acme')).statusCode, 303)
  const thief = new Browser(app)
  await thief.signOn()
  t.equal((await thief.me()).id, 'ada')

  const undo = (await mailbox.next('email_changed')).token
  const reply = await browser.send('POST', '/auth/email/undo', { token: undo })
  t.equal(reply.statusCode, 204)
  t.match(await app.sessions.listIdentities('ada'), [{ subject: 'own' }], 'the older link is kept')
  t.match(eventsOf(events, 'sessions.identity_unlinked'), [
    { principalId: 'ada', details: { subject: 'alice', reason: 'the account was put back' } },
  ])
  t.same(refusalOf(await thief.send('GET', '/me'))[0], 401, 'its session has ended')
  await thief.signOn()
  t.equal((await thief.me()).id, 'acme:alice', 'and it logs in as nobody but itself')
  t.equal((await mailbox.next('identity_unlinked')).email, 'ada@example.com')
})

await t.test(
  'a user without a password proves a change by a login, not by any password',
  async (t) => {
    const { browser, clock, table } = await start(t)
    table.rows[0]!.passwordHash = null
    clock.advance(301_000)
    const change = { current: 'a guess', password: 'seven purple tandem otters' }
    const reply = await browser.send('POST', '/auth/password', change)
    t.same(refusalOf(reply), [401, 'PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED'])
  },
)
