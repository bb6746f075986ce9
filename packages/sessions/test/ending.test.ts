/** How sessions end: races with a login, and connections that outlive a request. */
import { createMemoryStore } from '@parapet/kit'
import type { AccessToken, EndedAccess } from '@parapet/sessions'
import t from 'tap'
import { build, eventsOf, reader, type Built } from './build.ts'

const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }

/** A store that waits at the first call of one method, so that another call comes in between. */
function pausing(method: 'addMember' | 'set' | 'compareAndSet') {
  const real = createMemoryStore()
  let resume: (() => void) | undefined
  let isArmed = false
  let reached: (() => void) | undefined
  const paused = new Promise<void>((resolve) => (reached = resolve))
  const store = new Proxy(real, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (name !== method) return value.bind(target) as unknown
      return async (...args: unknown[]) => {
        const call = () => (value as (...given: unknown[]) => unknown).apply(target, args)
        if (!isArmed) return call()
        isArmed = false
        // A compare-and-set has happened when the other call comes.
        const result: unknown = method === 'compareAndSet' ? await call() : undefined
        reached!()
        await new Promise<void>((resolve) => (resume = resolve))
        return method === 'compareAndSet' ? result : call()
      }
    },
  })
  return { store, arm: () => (isArmed = true), paused, resume: () => resume!() }
}

for (const method of ['set', 'addMember'] as const) {
  await t.test(`a login during a revocation is listed and can be ended (${method})`, async (t) => {
    const { store, arm, paused, resume } = pausing(method)
    const { app, start, ask, refuses } = await build(t, { store })
    arm()
    const starting = start()
    await paused
    await app.sessions.revoke({ userId: reader.id })
    resume()
    const grant = await starting
    t.equal((await ask(grant.accessToken)).status, 200, 'it counts as a login afterwards')
    const ids = (await app.sessions.list(reader.id)).map(({ id }) => id)
    t.same(ids, [grant.sessionId], 'it is listed')
    const other = await start()
    await app.sessions.revoke({ userId: reader.id, exceptSessionId: other.sessionId })
    await refuses(grant.accessToken)
    t.ok(await app.sessions.refresh(other.refreshToken))
  })
}

await t.test('"end others" ends sessions that are not in the list', async (t) => {
  const store = createMemoryStore()
  const { app, start, ask } = await build(t, { store })
  const [unlisted, kept] = [await start(), await start()]
  await store.removeMember(`sessions:of:${reader.id}`, unlisted.sessionId)
  await app.sessions.revoke({ userId: reader.id, exceptSessionId: kept.sessionId })
  await t.rejects(app.sessions.refresh(unlisted.refreshToken), refused)
  t.equal((await ask(kept.accessToken)).status, 200, 'the current access token stays valid')
  const next = await app.sessions.refresh(kept.refreshToken)
  const login = await start()
  await app.sessions.revoke({ userId: reader.id, exceptSessionId: login.sessionId })
  await t.rejects(app.sessions.refresh(next.refreshToken), refused, 'the session kept before')
  await app.sessions.revoke({ userId: reader.id })
  await t.rejects(app.sessions.refresh(login.refreshToken), refused, 'no session is kept')
})

await t.test('every instance reports which access has ended', async (t) => {
  const store = createMemoryStore()
  const [a, b] = [await build(t, { store }), await build(t, { store })]
  const heard: EndedAccess[] = []
  b.app.sessions.onEnded(() => {
    throw new Error('a listener that fails')
  })
  const stop = b.app.sessions.onEnded((ended) => void heard.push(ended))
  const [one, two] = [await a.start(), await a.start({ id: 'user-2', roles: [] })]
  const tokens = [
    await b.app.sessions.verify(one.accessToken),
    await b.app.sessions.verify(two.accessToken),
  ]
  const told = async (revoke: () => Promise<unknown>) => {
    heard.length = 0
    await revoke()
    while (heard.length === 0) await new Promise(setImmediate)
    const { scope, includes } = heard[0]!
    return [scope, ...tokens.map((token: AccessToken) => includes(token))]
  }
  const { sessions } = a.app
  const { tokenId } = tokens[1]!
  t.same(await told(() => sessions.revoke({ sessionId: one.sessionId })), ['session', true, false])
  t.same(await told(() => sessions.revoke({ tokenId })), ['token', false, true])
  t.same(await told(() => sessions.userChanged('user-2')), ['user', false, true])
  t.same(await told(() => sessions.disableUser('user-1')), ['user', true, false])
  a.clock.advance(1)
  t.same(await told(() => sessions.revoke('everyone')), ['everyone', true, true])
  const later = await b.app.sessions.verify((await a.start()).accessToken)
  t.equal(heard[0]!.includes(later), false, 'a token that was issued afterwards is valid')
  stop()
  heard.length = 0
  await sessions.disableUser('user-1')
  t.same(heard, [])
})

await t.test(
  'a list that the store lost grows again, and "end others" ends them all',
  async (t) => {
    const store = createMemoryStore()
    const { app, start, ask, refuses } = await build(t, { store })
    const [other, kept] = [await start(), await start()]
    await store.delete(`sessions:of:${reader.id}`)
    const current = await app.sessions.refresh(kept.refreshToken)
    const ids = (await app.sessions.list(reader.id)).map(({ id }) => id)
    t.same(ids, [kept.sessionId], 'a refresh lists its session')
    await app.sessions.revoke({ userId: reader.id, exceptSessionId: kept.sessionId })
    await refuses(other.accessToken, 'an access token of a session that is not in the list')
    await t.rejects(app.sessions.refresh(other.refreshToken), refused)
    const next = await app.sessions.refresh(current.refreshToken)
    t.equal((await ask(next.accessToken)).status, 200, 'the session that asked goes on')
    await store.delete(`sessions:of:${reader.id}`)
    const late = await start()
    await app.sessions.revoke({ userId: reader.id, exceptSessionId: kept.sessionId })
    await refuses(late.accessToken, 'the session that asked is not in the list')
    t.ok(await app.sessions.refresh(next.refreshToken))
  },
)

await t.test(
  'a refresh during an elevation or a revocation hands out no dead tokens',
  async (t) => {
    const ends: [name: string, end: (built: Built, sessionId: string) => Promise<unknown>][] = [
      ['elevate', ({ app }, id) => app.sessions.elevate(id, { amr: ['otp', 'mfa'] })],
      ['revoke', ({ app }, id) => app.sessions.revoke({ sessionId: id })],
      ['disable', ({ app }) => app.sessions.disableUser(reader.id)],
    ]
    for (const [name, end] of ends) {
      const { store, arm, paused, resume } = pausing('compareAndSet')
      const built = await build(t, { store })
      const { sessionId, refreshToken } = await built.start()
      arm()
      const refreshing = built.app.sessions.refresh(refreshToken)
      await paused
      await end(built, sessionId)
      resume()
      await t.rejects(refreshing, refused, name)
      t.same(eventsOf(built.events, 'sessions.refreshed'), [])
    }
  },
)
