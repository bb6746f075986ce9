/** What write access to the store or to the table of API keys gains: nothing but older records. */
import { createManualClock, createMemoryStore, createSqlClient, type Store } from '@parapet/kit'
import { generateSecret, type SessionsOptions } from '@parapet/sessions'
import { usePostgres } from '@parapet/testing'
import t, { type Test } from 'tap'
import { build, eventsOf, reader, refusalOf, secret, type Built } from './build.ts'

const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }
const ended = { code: 'PARAPET_SESSIONS_UNAUTHENTICATED', statusCode: 401 }
const notFound = { code: 'PARAPET_SESSIONS_NOT_FOUND', statusCode: 404 }
const DAY_MS = 86_400_000

interface Stored {
  u: [id: string, roles: string[], permissions: null, tenantId: null]
  p: [amr: string[], at: number, acr: string | null]
  m?: string
}

/** An app, and its store with a function that changes a stored JSON. */
async function setUp(t: Test, options: Partial<SessionsOptions> = {}) {
  const store = options.store ?? createMemoryStore()
  const built = await build(t, { ...options, store })
  return { ...built, store, change: (key: string, edit: Edit) => change(store, key, edit) }
}

type Edit = (stored: Stored) => unknown

async function change(store: Store, key: string, edit: Edit): Promise<void> {
  const stored = JSON.parse((await store.get(key))!) as Stored
  edit(stored)
  await store.set(key, JSON.stringify(stored), DAY_MS)
}

const verify = async () => ({ amr: ['otp', 'mfa'] })
const sessionKey = (id: string) => `sessions:session:${id}`
const unseal: Edit = (stored) => delete stored.m

await t.test('a session that was changed in the store is refused', async (t) => {
  const edits: [name: string, edit: Edit][] = [
    ['another user', ({ u }) => (u[0] = 'root')],
    ['another role', ({ u }) => u[1].push('admin')],
    ['another method', ({ p }) => p[0].push('mfa')],
    ['another level', ({ p }) => (p[2] = 'phr')],
    ['no seal', unseal],
    ['an empty seal', (stored) => (stored.m = '')],
  ]
  for (const [name, edit] of edits) {
    const { app, start, store, change, events } = await setUp(t)
    const { sessionId, refreshToken } = await start()
    const kept = await store.get(sessionKey(sessionId))
    await change(sessionKey(sessionId), edit)
    await t.rejects(app.sessions.refresh(refreshToken), refused, name)
    await t.rejects(app.sessions.elevate(sessionId, { amr: ['otp', 'mfa'] }), ended)
    t.match(eventsOf(events, 'sessions.record_refused'), [
      { severity: 'high', resourceId: sessionId, details: { record: 'session' } },
      { resourceId: sessionId },
    ])
    await store.set(sessionKey(sessionId), kept!, DAY_MS)
    t.ok(await app.sessions.refresh(refreshToken), 'the genuine record works')
  }
})

await t.test('the record of one session is invalid under the id of another', async (t) => {
  const { app, start, store } = await setUp(t)
  const [own, admin] = [await start(), await start({ id: 'root', roles: ['admin'] })]
  const record = await store.get(sessionKey(admin.sessionId))
  await store.set(sessionKey(own.sessionId), record!, DAY_MS)
  await t.rejects(app.sessions.refresh(own.refreshToken), refused)
  t.same(await app.sessions.list(reader.id), [], 'it is not listed')
  await app.sessions.revoke({ sessionId: own.sessionId })
  t.ok(await app.sessions.refresh(admin.refreshToken), 'the other session goes on')
})

await t.test('a login that waits for its second step cannot be changed', async (t) => {
  const { app, change, store, events } = await setUp(t, {
    prefix: '/auth',
    credentials: async () => reader,
    secondFactor: { methodsOf: async () => ['totp'], verify },
  })
  const keys: string[] = []
  const set = store.set.bind(store)
  store.set = (key, ...rest) => {
    keys.push(key)
    return set(key, ...rest)
  }
  const post = (url: string, payload: object) =>
    app.inject({ method: 'POST', url: `/auth/login${url}`, payload })
  const body = { login: 'ada', password: 'right' }
  const { ticket } = (await post('', body)).json<{ ticket: string }>()
  const key = keys.find((each) => each.startsWith('sessions:second-factor:'))!
  await change(key, (stored) => Object.assign(stored, { user: { id: 'root', roles: ['admin'] } }))
  const reply = await post('/second-factor', { ticket, code: '123456' })
  t.same(refusalOf(reply), [401, 'PARAPET_SESSIONS_TICKET_REFUSED'])
  t.match(eventsOf(events, 'sessions.record_refused'), [{ details: { record: 'login' } }])
  t.same(eventsOf(events, 'sessions.login_succeeded'), [])
})

/** Creates a key, and asserts that it is refused after each change of where it is stored. */
async function refusesChangedKey(
  t: Test,
  { app, ask, refuses, events, clock }: Built,
  change: (id: string, field: 'owner' | 'roles' | 'scopes' | 'expires' | 'seal') => Promise<void>,
): Promise<void> {
  for (const field of ['owner', 'roles', 'scopes', 'expires', 'seal'] as const) {
    const { key, text } = await app.sessions.apiKeys.create({
      ownerId: 'user-1',
      name: 'ci',
      scopes: ['a'],
      roles: ['reader'],
    })
    t.equal((await ask(text)).status, 200)
    await change(key.id, field)
    // The genuine record that was just used is remembered for a second.
    clock.advance(1000)
    await refuses(text, field)
    await t.rejects(app.sessions.apiKeys.rotate(key.id), notFound, 'nor rotated')
    const forged = eventsOf(events, 'sessions.record_refused').at(-1)
    t.match(forged, { resourceType: 'api-key', resourceId: key.id })
  }
  t.same(await app.sessions.apiKeys.list('user-1'), [])
}

await t.test('an API key that was changed in the store is refused', async (t) => {
  const built = await setUp(t)
  await refusesChangedKey(t, built, (id, field) =>
    built.change(`sessions:api-key:${id}`, (stored) => {
      if (field === 'seal') return Reflect.deleteProperty(stored, 'seal')
      const changed = { owner: { ownerId: 'root' }, roles: { roles: ['admin'] } }
      const others = { scopes: { scopes: ['*'] }, expires: { expiresAt: 9e14 } }
      return Object.assign(stored, { ...changed, ...others }[field])
    }),
  )
})

await t.test('an API key that was changed in the table is refused', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  const changes = {
    owner: "owner_id = 'root'",
    roles: "roles = '{admin}'",
    scopes: "scopes = '{*}'",
    expires: "expires_at = '2100-01-01'",
    seal: 'seal = NULL',
  }
  const built = await build(t, { sql })
  await refusesChangedKey(t, built, async (id, field) => {
    await sql.query(`UPDATE sessions_api_keys SET ${changes[field]} WHERE id = $1`, [id])
  })
})

await t.test(
  'records of older versions are accepted until a time, and sealed by a use',
  async (t) => {
    const store = createMemoryStore()
    const clock = createManualClock(Date.UTC(2026, 0, 15))
    const acceptUnsealedUntil = clock.now() + 10 * DAY_MS
    const old = await setUp(t, { store, clock, acceptUnsealedUntil })
    const [used, unused] = [await old.start(), await old.start()]
    const create = () => old.app.sessions.apiKeys.create({ ownerId: 'u', name: 'n', scopes: [] })
    const [usedKey, unusedKey] = [await create(), await create()]
    for (const { sessionId } of [used, unused]) await old.change(sessionKey(sessionId), unseal)
    for (const { key } of [usedKey, unusedKey]) {
      await old.change(`sessions:api-key:${key.id}`, (stored) =>
        Reflect.deleteProperty(stored, 'seal'),
      )
    }
    const next = await old.app.sessions.refresh(used.refreshToken)
    t.equal((await old.ask(usedKey.text)).status, 200)
    clock.advance(6 * DAY_MS)
    t.equal((await old.ask(unusedKey.text)).status, 200, 'before the time')
    await old.change(`sessions:api-key:${unusedKey.key.id}`, (stored) =>
      Reflect.deleteProperty(stored, 'seal'),
    )
    const later = await old.app.sessions.refresh(next.refreshToken)
    clock.advance(4 * DAY_MS)
    t.ok(await old.app.sessions.refresh(later.refreshToken), 'a session that was used')
    t.equal((await old.ask(usedKey.text)).status, 200, 'an API key that was used')
    t.equal((await old.ask(unusedKey.text)).status, 401)
    await t.rejects(old.app.sessions.refresh(unused.refreshToken), refused)
    const reasons = eventsOf(old.events, 'sessions.record_refused').map(({ details }) => details)
    t.match(reasons, [
      { record: 'api-key', reason: 'unsealed' },
      { record: 'session', reason: 'unsealed' },
    ])
  },
)

await t.test('a secret can be removed when everything is sealed by the next one', async (t) => {
  const store = createMemoryStore()
  const [first, second] = [secret, generateSecret()]
  const a = await setUp(t, { store, secrets: [first] })
  const { refreshToken } = await a.start()
  const keys = await Promise.all(
    ['used', 'unused'].map((name) =>
      a.app.sessions.apiKeys.create({ ownerId: 'u', name, scopes: [] }),
    ),
  )
  const [used, unused] = keys.map(({ text }) => text)
  const both = await setUp(t, { store, secrets: [second, first] })
  const renewed = await both.app.sessions.refresh(refreshToken)
  t.equal((await both.ask(used!)).status, 200)
  const last = await setUp(t, { store, secrets: [second] })
  t.ok(await last.app.sessions.refresh(renewed.refreshToken))
  t.equal((await last.ask(used!)).status, 200)
  await last.refuses(unused!, 'it is still sealed by the removed secret')
  t.match(eventsOf(last.events, 'sessions.record_refused'), [{ details: { reason: 'forged' } }])
})
