/** Refresh: rotation, the grace period, the detection of reuse, and races. */
import { createManualClock, createMemoryStore } from '@parapet/kit'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { build, eventsOf, reader } from './build.ts'

const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

await t.test('a refresh token works once, and a second use ends the session', async (t) => {
  const { app, start, ask, refuses, clock, events } = await build(t)
  const first = await start()
  const second = await app.sessions.refresh(first.refreshToken)
  t.equal((await ask(second.accessToken)).status, 200, 'the new access token is used')
  clock.advance(10_000)
  const same = await app.sessions.refresh(first.refreshToken)
  t.equal(same.refreshToken, second.refreshToken, 'within the grace period, the same successor')
  clock.advance(1)
  await t.rejects(app.sessions.refresh(first.refreshToken), refused, 'after the grace period')
  await t.rejects(app.sessions.refresh(second.refreshToken), refused, 'the session has ended')
  await refuses(second.accessToken, 'its access tokens are revoked')
  t.match(eventsOf(events, 'sessions.reuse_detected'), [
    {
      severity: 'high',
      principalId: 'user-1',
      sessionId: first.sessionId,
      details: { presentedGeneration: 0, currentGeneration: 1, storeRolledBack: false },
    },
  ])
  t.match(eventsOf(events, 'sessions.refreshed'), [
    { details: { generation: 1, repeated: false } },
    { details: { generation: 1, repeated: true } },
  ])
})

await t.test('a store that was restored from a backup is detected', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const store = createMemoryStore({ clock })
  const { app, start, events } = await build(t, { store, clock })
  const first = await start()
  const name = `sessions:session:${first.sessionId}`
  const backup = (await store.get(name))!
  const second = await app.sessions.refresh(first.refreshToken)
  await store.set(name, backup, DAY_MS)
  await t.rejects(app.sessions.refresh(second.refreshToken), refused)
  t.match(eventsOf(events, 'sessions.reuse_detected'), [{ details: { storeRolledBack: true } }])
})

await t.test('an instance whose clock is behind refreshes a new session', async (t) => {
  const store = createMemoryStore()
  const [ahead, behind] = [await build(t, { store }), await build(t, { store })]
  ahead.clock.advance(4000)
  const { accessToken, refreshToken } = await ahead.start()
  t.equal((await behind.ask(accessToken)).status, 200)
  const renewed = await behind.app.sessions.refresh(refreshToken)
  t.equal((await behind.ask(renewed.accessToken)).status, 200)
  t.equal((await ahead.ask(renewed.accessToken)).status, 200)
})

await t.test('if the user lookup fails, a refresh is 503 and the session continues', async (t) => {
  let isDown = true
  const findUser = async () => {
    if (isDown) throw new Error('the database is down')
    return reader
  }
  const { app, start } = await build(t, { findUser })
  const { refreshToken } = await start()
  await t.rejects(app.sessions.refresh(refreshToken), {
    code: 'PARAPET_SESSIONS_UNAVAILABLE',
    statusCode: 503,
  })
  isDown = false
  t.ok(await app.sessions.refresh(refreshToken))
})

await t.test('100 concurrent refreshes with one token cause one rotation', async (t) => {
  const { app, start, events } = await build(t)
  const { refreshToken } = await start()
  const grants = await Promise.all(
    Array.from({ length: 100 }, () => app.sessions.refresh(refreshToken)),
  )
  t.equal(new Set(grants.map((grant) => grant.refreshToken)).size, 1)
  const rotations = eventsOf(events, 'sessions.refreshed').filter(
    (event) => event.details && !('repeated' in event.details && event.details.repeated),
  )
  t.equal(rotations.length, 1)
})

/** The expected state of one session. */
interface Model {
  readonly tokens: string[]
  newest: number
  rotatedAt: number
  startedAt: number
  hasEnded: boolean
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('refresh' as const),
      back: fc.integer({ min: 0, max: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 5000, 9999, 10_001, HOUR_MS, 3 * DAY_MS, 6.9 * DAY_MS),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('revoke' as const, 'all' as const, 'change' as const),
    }),
  },
)

/** Refreshes with the token of a generation, and compares the result with the model. */
async function compare(
  app: FastifyInstance,
  model: Model,
  generation: number,
  now: number,
): Promise<void> {
  if (now >= model.rotatedAt + 7 * DAY_MS || now >= model.startedAt + 30 * DAY_MS)
    model.hasEnded = true
  const isNewest = generation === model.newest
  const isInGrace = generation === model.newest - 1 && now - model.rotatedAt <= 10_000
  const isAllowed = !model.hasEnded && (isNewest || isInGrace)
  const result = await app.sessions.refresh(model.tokens[generation]!).then(
    (grant) => grant,
    (error: { code: string }) => error.code,
  )
  if ((typeof result === 'object') !== isAllowed)
    throw new Error(`generation ${generation}: ${JSON.stringify(result)}`)
  if (typeof result === 'string') {
    if (result !== refused.code) throw new Error(result)
    model.hasEnded = true
    return
  }
  await app.sessions.verify(result.accessToken)
  if (isNewest) {
    model.newest++
    model.rotatedAt = now
    model.tokens.push(result.refreshToken)
  } else if (result.refreshToken !== model.tokens[model.newest])
    throw new Error('the repeated refresh returned another successor')
}

await t.test('refresh tokens behave like the model for any sequence of steps', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const { app } = await build(t, { clock, store: createMemoryStore({ clock, maxBytes: 2 ** 30 }) })
  let user = 0
  let steps = 0
  const property = fc.asyncProperty(
    fc.array(step, { minLength: 5, maxLength: 30 }),
    async (script) => {
      const userId = `user-${user++}`
      const first = await app.sessions.start({ id: userId, roles: [] })
      const model: Model = {
        tokens: [first.refreshToken],
        newest: 0,
        rotatedAt: clock.now(),
        startedAt: clock.now(),
        hasEnded: false,
      }
      for (const each of script) {
        steps++
        if (each.kind === 'wait') clock.advance(each.ms)
        else if (each.kind === 'change') await app.sessions.userChanged(userId)
        else if (each.kind !== 'refresh') {
          const target = each.kind === 'all' ? { userId } : { sessionId: first.sessionId }
          await app.sessions.revoke(target)
          model.hasEnded = true
        } else await compare(app, model, Math.max(0, model.newest - each.back), clock.now())
      }
    },
  )
  await fc.assert(property, { numRuns: runs(300, 20_000) })
  t.pass(`${steps} steps without a difference`)
})
