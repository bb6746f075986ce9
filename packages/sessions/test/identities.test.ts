/** Linking identities at a provider to a user, with proof of both sides. */
import { PGlite } from '@electric-sql/pglite'
import {
  createMemoryStore,
  createRedisStore,
  createSqlClient,
  type SqlClient,
  type Store,
} from '@parapet/kit'
import {
  generateSecret,
  type IdentityLinks,
  type OidcProviderOptions,
  type SessionsOptions,
} from '@parapet/sessions'
import { usePostgres, useRedis } from '@parapet/testing'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { eventsOf, refusalOf, secret } from './build.ts'
import { Browser, buildService } from './provider-visits.ts'
import { comeBack, startProvider } from './real-provider.ts'

const REFUSED = [401, 'PARAPET_SESSIONS_SSO_REFUSED']
const STALE = [401, 'PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED']
const TOO_MANY = [409, 'PARAPET_SESSIONS_TOO_MANY_LINKS']
const TAKEN = [409, 'PARAPET_SESSIONS_IDENTITY_TAKEN']
const LAST = [409, 'PARAPET_SESSIONS_LAST_LOGIN']
const link = '/auth/identities/acme'

async function start(
  t: Test,
  more: Partial<SessionsOptions> = {},
  provider: Partial<OidcProviderOptions> = {},
) {
  const real = await startProvider(t)
  const options = { linking: {}, ...more }
  const built = await buildService(t, { issuer: real.issuer, ...provider }, options)
  const browser = new Browser(built.app)
  await browser.logIn('ada')
  return { ...built, real, browser }
}

interface Linked {
  readonly identities: {
    readonly id: string
    readonly provider: string
    readonly subject: string
  }[]
}
const linked = async (browser: Browser) =>
  (await browser.send('GET', '/auth/identities')).json<Linked>().identities

const identity = (subject: string) => ({ provider: 'acme', subject })

/** Begins a link and visits the provider. @returns where it sends the browser. */
const begin = async (of: Browser) =>
  comeBack((await of.send('POST', link)).json<{ url: string }>().url, of.jar)

const pglite = await PGlite.create()

/** An empty table of the links for each test. */
async function emptySql(): Promise<SqlClient> {
  await pglite.exec(
    'DROP TABLE IF EXISTS sessions_identities, sessions_api_keys, sessions_accounts',
  )
  await pglite.exec(`DO $$ BEGIN IF to_regclass('parapet_migrations') IS NOT NULL THEN
    DELETE FROM parapet_migrations; END IF; END $$`)
  return createSqlClient(pglite)
}

/** Where the links are kept; `null`: the service does not run here. */
async function storageOf(t: Test, kind: string): Promise<Partial<SessionsOptions> | null> {
  if (kind === 'memory') return {}
  if (kind === 'PGlite') return { sql: await emptySql() }
  if (kind === 'PostgreSQL') {
    const postgres = await usePostgres(t)
    return postgres && { sql: createSqlClient(postgres.pool) }
  }
  const redis = await useRedis(t)
  if (redis === null) return null
  const client = new Redis(redis.url)
  const store = createRedisStore({ client, prefix: redis.prefix })
  t.after(async () => {
    await store.close()
    client.disconnect()
  })
  return { store }
}

for (const kind of ['memory', 'Redis', 'PGlite', 'PostgreSQL']) {
  await t.test(`a user has at most so many links, kept in ${kind}`, async (t) => {
    const storage = await storageOf(t, kind)
    if (storage === null) return
    const { app, browser, events } = await start(t, { ...storage, linking: { maxLinksPerUser: 3 } })
    const add = (subject: string, user = 'ada') =>
      app.sessions.linkIdentity(user, identity(subject)).then(
        () => 'added',
        ({ code }: { code: string }) => code,
      )
    const results = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((subject) => add(subject)))
    t.equal(results.filter((each) => each === 'added').length, 3, 'of six at once')
    t.equal(results.filter((each) => each === TOO_MANY[1]).length, 3)
    const kept = await linked(browser)
    t.equal(kept.length, 3)
    t.equal(await add(kept[0]!.subject), 'added', 'linking again changes nothing')
    t.equal(eventsOf(events, 'sessions.identity_linked').length, 3, 'and is no event')
    t.same(refusalOf(await browser.send('POST', link)), TOO_MANY, 'before the visit')
    const [refused] = ['a', 'b', 'c', 'd', 'e', 'f'].filter(
      (subject) => !kept.some((each) => each.subject === subject),
    )
    t.equal(await add(refused!, 'bob'), 'added', 'another user may have one that was refused')
    await app.sessions.unlinkIdentity('ada', kept[0]!.id)
    t.equal(await add('g'), 'added', 'and there is room again')
    t.equal((await linked(browser)).length, 3)
  })

  await t.test(`a link by both proofs, kept in ${kind}`, async (t) => {
    const storage = await storageOf(t, kind)
    if (storage === null) return
    const { real, browser, app, events, clock } = await start(t, storage)
    t.same(await linked(browser), [])
    const begun = await browser.send('POST', link, { returnTo: '/settings' })
    const url = new URL(begun.json<{ url: string }>().url)
    t.equal(url.searchParams.get('prompt'), 'login', 'a session at the provider is not enough')
    const token = browser.cookies['__Host-session']
    const landed = await browser.land(await comeBack(url.href, browser.jar))
    t.same([landed.statusCode, landed.headers.location], [303, '/settings'])
    t.equal(browser.cookies['__Host-session'], token, 'the session goes on as it was')
    const [identity] = await linked(browser)
    t.match(identity, { provider: 'acme', subject: 'alice', linkedAt: clock.now() })
    t.match(eventsOf(events, 'sessions.identity_linked'), [
      {
        principalId: 'ada',
        resourceType: 'identity',
        resourceId: identity!.id,
        details: { provider: 'acme', subject: 'alice' },
      },
    ])
    const other = new Browser(app)
    await other.signOn()
    t.match(await other.me(), { id: 'ada', amr: ['oidc'] }, 'the identity logs in as the user')
    t.equal((await browser.visit(link)).statusCode, 303, 'linking again changes nothing')
    t.equal((await linked(browser)).length, 1)

    const bob = new Browser(app)
    await bob.logIn('bob')
    t.same(refusalOf(await bob.visit(link)), TAKEN, 'another user cannot have it as well')
    real.account = 'mallory'
    bob.jar.clear()
    t.equal((await bob.visit(link)).statusCode, 303)
    t.same(
      (await linked(bob)).map(({ subject }) => subject),
      ['mallory'],
    )

    const path = `/auth/identities/${identity!.id}`
    t.same(refusalOf(await bob.send('DELETE', path))[0], 404, 'a link of another user')
    t.same(refusalOf(await browser.send('DELETE', path)), LAST, 'there is no other way to log in')
    await app.sessions.linkIdentity('ada', { provider: 'acme', subject: 'ada-2' })
    t.equal((await browser.send('DELETE', path)).statusCode, 204)
    t.equal((await other.send('GET', '/me')).statusCode, 401, 'its sessions end')
    t.equal((await browser.me()).id, 'ada', 'this one goes on')
    t.match(eventsOf(events, 'sessions.identity_unlinked'), [
      { principalId: 'ada', details: { subject: 'alice', reason: 'by the user' } },
    ])
    real.account = 'alice'
    await other.signOn()
    t.equal((await other.me()).id, 'acme:alice', 'it logs in as itself again')
    bob.jar.clear()
    t.equal((await bob.visit(link)).statusCode, 303, 'it is free')
  })

  await t.test(`of many at once, one gets an identity, and one link stays: ${kind}`, async (t) => {
    const storage = await storageOf(t, kind)
    if (storage === null) return
    const { app, browser } = await start(t, storage)
    const { sessions } = app
    const users = Array.from({ length: 10 }, (_, index) => `user-${index}`)
    const claims = await Promise.allSettled(
      users.map((user) => sessions.linkIdentity(user, { provider: 'acme', subject: 'alice' })),
    )
    t.equal(claims.filter(({ status }) => status === 'fulfilled').length, 1)
    const lists = await Promise.all(users.map((user) => sessions.listIdentities(user)))
    t.equal(lists.flat().length, 1)

    const subjects = ['a', 'b', 'c', 'd']
    for (const subject of subjects)
      await sessions.linkIdentity('ada', { provider: 'acme', subject })
    const links = await linked(browser)
    const replies = await Promise.all(
      links.map(({ id }) => browser.send('DELETE', `/auth/identities/${id}`)),
    )
    t.same(
      replies.map(({ statusCode }) => statusCode).toSorted((a, b) => a - b),
      [204, 204, 204, 409],
    )
    t.equal((await linked(browser)).length, 1, 'two tabs cannot remove the last two')
  })
}

await t.test(
  'a link begins only after a fresh login, and of a second factor where there is one',
  async (t) => {
    let methods: readonly string[] = []
    const secondFactor = {
      methodsOf: async (_id: string, { request }: { request: { headers: object } }) =>
        'cookie' in request.headers && (request.headers as { cookie?: string }).cookie !== undefined
          ? []
          : methods,
      verify: async () => ({ amr: ['otp'] }),
      page: '/login/code',
    }
    const { browser, clock, app } = await start(t, { secondFactor })
    clock.advance(300_001)
    t.same(refusalOf(await browser.visit(link)), STALE)
    const stale = await browser.send('POST', link)
    t.match(stale.headers['www-authenticate'], 'insufficient_user_authentication')
    t.same(refusalOf(await browser.send('DELETE', `/auth/identities/${'x'.repeat(22)}`)), STALE)
    await browser.logIn('ada')
    t.equal((await browser.visit(link)).statusCode, 303)
    methods = ['totp']
    t.same(refusalOf(await browser.visit(link)), STALE, 'a remembered device is no factor')
    const { sessionId } = await browser.me()
    const grant = await app.sessions.elevate(sessionId, { amr: ['otp'] })
    browser.cookies['__Host-session'] = grant.accessToken
    browser.cookies['__Host-refresh'] = grant.refreshToken
    t.equal((await browser.visit(link)).statusCode, 303)
  },
)

await t.test('a link is for the session that began it', async (t) => {
  const { browser, app, events } = await start(t)
  const victim = new Browser(app)
  await victim.logIn('victim')
  const foreign = await begin(browser)
  t.same(refusalOf(await victim.land(foreign)), REFUSED, 'in another browser')
  t.same(await linked(victim), [])
  const replaced = await begin(browser)
  await browser.logIn('bob')
  t.same(refusalOf(await browser.land(replaced)), REFUSED, 'another user logged in meanwhile')
  t.same(await linked(browser), [])
  const late = await begin(browser)
  await app.sessions.revoke({ userId: 'bob' })
  t.same(refusalOf(await browser.land(late)), REFUSED, 'the session was ended meanwhile')
  t.same(await app.sessions.listIdentities('bob'), [])
  t.equal(eventsOf(events, 'sessions.identity_linked').length, 0)
  t.equal(eventsOf(events, 'sessions.login_failed').length, 3)
})

await t.test('no login of a provider turns into a link, nor a link into a login', async (t) => {
  const { browser, app } = await start(t)
  const attacker = new Browser(app)
  const begun = await attacker.send('GET', '/auth/oidc/acme')
  const back = await comeBack(String(begun.headers.location), attacker.jar)
  t.same(refusalOf(await browser.land(back)), REFUSED, 'the code of another browser')
  t.same(await linked(browser), [])
  const get = await browser.send('GET', link)
  t.equal(get.statusCode, 404, 'a link of another site cannot begin one')
  const cross = await app.inject({
    method: 'POST',
    url: link,
    cookies: browser.cookies,
    headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
  })
  t.same(refusalOf(cross), [403, 'PARAPET_SESSIONS_CROSS_SITE'])
  t.equal((await new Browser(app).send('POST', link)).statusCode, 401)
})

await t.test('equal addresses link nothing', async (t) => {
  const seen: unknown[] = []
  const findUser: OidcProviderOptions['findUser'] = async ({ claims, subject }) => {
    seen.push(claims['email'])
    return { id: subject, roles: [] }
  }
  const { browser, app } = await start(t, {}, { findUser })
  await browser.logIn('alice@example.com')
  const other = new Browser(app)
  await other.signOn()
  t.same(seen, ['alice@example.com'])
  t.equal((await other.me()).id, 'alice')
  t.same(await linked(browser), [])
})

await t.test('an operator who acts as a user links nothing', async (t) => {
  const { app } = await start(t, { impersonation: { allows: async () => true } })
  const operator = await app.sessions.start({ id: 'root', roles: ['reader'] })
  const token = await app.sessions.verify(operator.accessToken)
  const grant = await app.sessions.impersonate(token, 'ada', { reason: 'ticket 7' })
  const acting = new Browser(app)
  acting.cookies['__Host-session'] = grant.accessToken
  const refused = [403, 'PARAPET_SESSIONS_IMPERSONATED']
  for (const url of [link, '/auth/oidc/acme/step-up']) {
    t.same(refusalOf(await acting.visit(url)), refused, url)
  }
  const remove = await acting.send('DELETE', `/auth/identities/${'x'.repeat(22)}`)
  t.same(refusalOf(remove), refused)
})

await t.test('a user who is gone does not log in by a link', async (t) => {
  let isGone = false
  const { app } = await start(t, {
    findUser: async (id) => (isGone ? null : { id, roles: [] }),
  })
  await app.sessions.linkIdentity('ada', { provider: 'acme', subject: 'alice' })
  const browser = new Browser(app)
  await browser.signOn()
  t.equal((await browser.me()).id, 'ada')
  isGone = true
  t.same(refusalOf(await new Browser(app).signOn()), REFUSED)
})

await t.test(
  'a deleted user leaves no identity behind, and nothing is reported of it',
  async (t) => {
    const sql = await emptySql()
    const { app, events } = await start(t, { sql })
    const identities = ['alice', 'bob'].map((subject) => ({ provider: 'acme', subject }))
    for (const identity of identities) await app.sessions.linkIdentity('ada', identity)
    await app.sessions.linkIdentity('eve', { provider: 'acme', subject: 'carol' })
    await app.sessions.forgetUser('ada')
    const { rows } = await sql.query('SELECT user_id, subject FROM sessions_identities')
    t.same(rows, [{ user_id: 'eve', subject: 'carol' }])
    t.same(eventsOf(events, 'sessions.identity_unlinked'), [])
  },
)

await t.test('a login that is on its way while its link is removed is refused', async (t) => {
  let calls = 0
  const links: IdentityLinks = {
    find: async () => (calls++ === 0 ? 'ada' : null),
    list: async () => [],
    add: async () => 'taken',
    remove: async () => 'missing',
  }
  const { app } = await start(t, { linking: { links } })
  const { length } = await app.sessions.list('ada')
  t.same(refusalOf(await new Browser(app).signOn()), REFUSED)
  t.equal((await app.sessions.list('ada')).length, length, 'its session has ended')

  const secondFactor = {
    methodsOf: async () => ['totp'],
    verify: async () => ({ amr: ['otp'] }),
    page: '/login/code',
  }
  const waiting = await start(t, { secondFactor })
  await waiting.app.sessions.linkIdentity('ada', { provider: 'acme', subject: 'alice' })
  const browser = new Browser(waiting.app)
  t.match((await browser.signOn()).headers.location, '/login/code')
  const [identity] = await waiting.app.sessions.listIdentities('ada')
  await waiting.app.sessions.unlinkIdentity('ada', identity!.id)
  const finished = await browser.send('POST', '/auth/login/second-factor', { code: '1' })
  t.same(refusalOf(finished), REFUSED, 'nor at its second step')
})

await t.test('whether there is another way to log in is asked', async (t) => {
  const directory = {
    findById: async (id: string) => ({
      user: { id, roles: [] },
      email: `${id}@example.com`,
      isEmailVerified: true,
      passwordHash: id === 'ada' ? 'a hash' : null,
    }),
    findByEmail: async () => null,
    savePassword: async () => false,
    verifyEmail: async () => false,
    saveEmail: async () => false,
  }
  const messages = {
    sendPasswordReset: async () => {},
    sendEmailVerification: async () => {},
    sendNotice: async () => {},
  }
  const page = 'https://api.example.com/page'
  const pages = { resetPassword: page, verifyEmail: page, undoEmailChange: page }
  const { app } = await start(t, { account: { directory, messages, pages } })
  for (const [user, status] of [
    ['ada', 204],
    ['bob', 409],
  ] as const) {
    const browser = new Browser(app)
    await browser.logIn(user)
    await app.sessions.linkIdentity(user, { provider: 'acme', subject: user })
    const [identity] = await linked(browser)
    const reply = await browser.send('DELETE', `/auth/identities/${identity!.id}`)
    t.equal(reply.statusCode, status, user)
  }
  const down = await start(t, { linking: { hasOtherLogin: () => Promise.reject(new Error('x')) } })
  await down.app.sessions.linkIdentity('ada', { provider: 'acme', subject: 'a' })
  const [identity] = await linked(down.browser)
  const reply = await down.browser.send('DELETE', `/auth/identities/${identity!.id}`)
  t.same(refusalOf(reply), [503, 'PARAPET_SESSIONS_UNAVAILABLE'])
})

await t.test('the application can keep the links in its own table', async (t) => {
  const rows = new Map<string, string>()
  const links: IdentityLinks = {
    find: async ({ subject }) => rows.get(subject) ?? null,
    list: async (userId) =>
      [...rows]
        .filter(([, owner]) => owner === userId)
        .map(([subject]) => ({ provider: 'acme', subject, linkedAt: 1 })),
    async add(userId, { subject }) {
      if ((rows.get(subject) ?? userId) !== userId) return 'taken'
      rows.set(subject, userId)
      return 'added'
    },
    async remove(_userId, { subject }, mayRemove) {
      if (!mayRemove([])) return 'kept'
      return rows.delete(subject) ? 'removed' : 'missing'
    },
  }
  const { browser, app } = await start(t, { linking: { links } })
  await browser.visit(link)
  t.same([...rows], [['alice', 'ada']])
  const [identity] = await linked(browser)
  t.same(refusalOf(await browser.send('DELETE', `/auth/identities/${identity!.id}`)), LAST)
  await app.sessions.unlinkIdentity('ada', identity!.id)
  t.equal(rows.size, 0, 'an operator may remove the last one')
  links.add = async () => true as never
  await t.rejects(
    app.sessions.linkIdentity('ada', { provider: 'acme', subject: 'alice' }),
    { code: 'PARAPET_SESSIONS_UNAVAILABLE' },
    'an answer that cannot be read is no link',
  )
  links.find = () => Promise.reject(new Error('down'))
  t.same(refusalOf(await new Browser(app).signOn()), [503, 'PARAPET_SESSIONS_UNAVAILABLE'])
})

await t.test('write access to the storage is not enough to link', async (t) => {
  const sql = await emptySql()
  const { app, events } = await start(t, { sql })
  await app.sessions.linkIdentity('mallory', { provider: 'acme', subject: 'alice' })
  await sql.query(`UPDATE sessions_identities SET user_id = 'admin'`, [])
  const browser = new Browser(app)
  await browser.signOn()
  t.equal((await browser.me()).id, 'acme:alice', 'as if there were no link')
  t.match(eventsOf(events, 'sessions.record_refused')[0], { details: { record: 'identity' } })
  await app.sessions.linkIdentity('ada', { provider: 'acme', subject: 'alice' })
  await browser.signOn()
  t.equal((await browser.me()).id, 'ada', 'and it can be linked again')

  const store: Store = createMemoryStore()
  const second = await start(t, { store })
  await second.app.sessions.linkIdentity('mallory', { provider: 'acme', subject: 'alice' })
  const [{ id } = { id: '' }] = await second.app.sessions.listIdentities('mallory')
  const text = (await store.get(`sessions:identity:${id}`))!
  await store.set(`sessions:identity:${id}`, text.replace('mallory', 'admin'), 60_000)
  const other = new Browser(second.app)
  await other.signOn()
  t.equal((await other.me()).id, 'acme:alice')
})

await t.test('a link that is used outlives the secret that sealed it', async (t) => {
  for (const storage of [{ store: createMemoryStore() }, { sql: await emptySql() }]) {
    const next = generateSecret()
    const { app, real } = await start(t, storage)
    await app.sessions.linkIdentity('ada', { provider: 'acme', subject: 'alice' })
    for (const secrets of [[next, secret], [next]]) {
      const options = { ...storage, linking: {}, secrets }
      const rotated = await buildService(t, { issuer: real.issuer }, options)
      const browser = new Browser(rotated.app)
      await browser.signOn()
      t.equal((await browser.me()).id, 'ada', `${secrets.length} secrets`)
    }
  }
})

await t.test('a kill between the two writes of the store leaves no half of a link', async (t) => {
  const store = createMemoryStore()
  const { app, browser } = await start(t, { store })
  const identity = { provider: 'acme', subject: 'alice' }
  const write = store.compareAndSet.bind(store)
  store.compareAndSet = async (key, ...rest) => {
    if (key.startsWith('sessions:identities:')) throw new Error('killed')
    return write(key, ...rest)
  }
  await t.rejects(app.sessions.linkIdentity('mallory', identity))
  store.compareAndSet = write
  await browser.signOn()
  t.equal((await browser.me()).id, 'acme:alice', 'no link yet')
  await app.sessions.linkIdentity('ada', identity)
  await browser.signOn()
  t.equal((await browser.me()).id, 'ada', 'and another user may have it')
})

await t.test('the options fit together', async (t) => {
  const real = await startProvider(t)
  const { issuer } = real
  await t.rejects(buildService(t, { issuer }, { linking: {}, findUser: undefined } as never), {
    code: 'PARAPET_SESSIONS_INVALID_OPTION',
    message: /"findUser" must be a function, because "linking" is set/,
  })
  const { app } = await buildService(t, { issuer })
  await t.rejects(app.sessions.listIdentities('ada'), {
    code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
  })
  const browser = new Browser(app)
  await browser.logIn('ada')
  t.equal((await browser.send('GET', '/auth/identities')).statusCode, 404, 'no routes')
  const linking = await start(t)
  for (const subject of ['', 'a\0b', '\ud800', 'x'.repeat(256), 1 as never]) {
    await t.rejects(linking.app.sessions.linkIdentity('ada', { provider: 'acme', subject }), {
      code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
    })
  }
  await t.rejects(linking.app.sessions.linkIdentity('ada', { provider: 'no', subject: 'a' }), {
    code: 'PARAPET_SESSIONS_NOT_FOUND',
  })
})

await t.test('the database closes', async (t) => {
  await pglite.close()
  t.pass()
})
