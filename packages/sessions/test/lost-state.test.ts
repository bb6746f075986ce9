/** What happens when the store loses keys: evicted, deleted or flushed. */
import { createMemoryStore, createRedisStore } from '@parapet/kit'
import { sessions, type SessionGrant } from '@parapet/sessions'
import { startRedis } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { baseOptions, build, reader } from './build.ts'

const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }

await t.test('a login works when the epoch of the fleet was lost', async (t) => {
  const store = createMemoryStore()
  const { app, start, ask } = await build(t, { store })
  const before = await start()
  await store.delete('sessions:epoch')
  const grant = await start()
  t.equal((await ask(grant.accessToken)).status, 200, 'the new token is valid')
  const again = await app.sessions.refresh(before.refreshToken)
  t.equal((await ask(again.accessToken)).status, 200, 'a refreshed one as well')
  const epoch = await store.get('sessions:epoch')
  t.match(epoch, /^[1-9]\d*\./, 'the epoch was written back')
})

await t.test('a revoked session stays revoked when the epoch of its user is lost', async (t) => {
  const store = createMemoryStore()
  const { app, start } = await build(t, { store })
  const revoked = await start()
  await app.sessions.revoke({ userId: reader.id })
  await store.delete(`sessions:epoch:${reader.id}`)
  // Another instance, which has never heard of the revocation.
  const other = await build(t, { store })
  await t.rejects(other.app.sessions.refresh(revoked.refreshToken), refused)
  const second = await build(t, { store })
  const { refreshToken } = await second.start()
  await second.app.sessions.revoke({ userId: reader.id })
  await store.delete(`sessions:epoch:${reader.id}`)
  t.ok(await other.start(), 'the user logs in again, which begins the epoch again')
  await t.rejects(other.app.sessions.refresh(refreshToken), refused)
})

await t.test('the epoch of a user is kept as long as the newest session', async (t) => {
  const store = createMemoryStore()
  const { app, start, clock } = await build(t, { store, findUser: async () => reader })
  await start()
  for (let day = 0; day < 45; day += 5) {
    clock.advance(5 * 86_400_000)
    const { refreshToken } = await start()
    t.ok(await app.sessions.refresh(refreshToken), `after ${day + 5} days`)
  }
})

await t.test(
  'an instance that starts after the revocations were lost accepts no older token',
  async (t) => {
    const store = createMemoryStore()
    const { app, start } = await build(t, { store })
    const { accessToken, sessionId, refreshToken } = await start()
    const kept = await start()
    await app.sessions.revoke({ sessionId })
    await store.delete('sessions:revocations')
    const late = await build(t, { store })
    await late.refuses(accessToken)
    await t.rejects(late.app.sessions.refresh(refreshToken), refused)
    const again = await late.app.sessions.refresh(kept.refreshToken)
    t.equal((await late.ask(again.accessToken)).status, 200, 'other sessions continue')
  },
)

interface Instance {
  readonly app: FastifyInstance
  readonly client: Redis
}

async function instance(t: Test, url: string): Promise<Instance> {
  const client = new Redis(url)
  client.on('error', () => {})
  const store = createRedisStore({ client, deadlineMs: 30_000, heartbeatMs: 100 })
  const app = Fastify()
  t.after(async () => {
    await app.close()
    await store.close()
    client.disconnect()
  })
  await app.register(sessions, { ...baseOptions, store })
  app.get('/private', async () => 'here')
  await app.ready()
  return { app, client }
}

const USERS = 300

/** Logs users in and revokes them; then fills the Redis with foreign keys, which evicts some of ours. */
async function overfill({ app, client }: Instance, policy: string): Promise<SessionGrant[]> {
  await client.config('SET', 'maxmemory-policy', policy)
  const grants: SessionGrant[] = []
  for (let n = 0; n < USERS; n++) {
    grants.push(await app.sessions.start({ id: `user-${n}`, roles: [] }))
    await app.sessions.revoke({ userId: `user-${n}` })
  }
  await client.config('SET', 'maxmemory', '3mb')
  for (let n = 0; n < 3000; n++) await client.set(`foreign:${n}`, 'x'.repeat(1000), 'EX', 1000)
  return grants
}

async function refreshed(app: FastifyInstance, grants: readonly SessionGrant[]): Promise<number> {
  let count = 0
  for (const { refreshToken } of grants) {
    await app.sessions.refresh(refreshToken).then(
      () => count++,
      (error: { code: string }) => {
        if (error.code !== refused.code) throw error
      },
    )
  }
  return count
}

for (const policy of ['volatile-lru', 'allkeys-lru']) {
  await t.test(`an overfilled Redis under ${policy} revives no session`, async (t) => {
    const redis = await startRedis(t)
    if (redis === null) return
    const first = await instance(t, redis.url)
    const grants = await overfill(first, policy)
    const evicted = /evicted_keys:(\d+)/.exec(await first.client.info('stats'))?.[1]
    t.ok(Number(evicted) > 0, `${evicted} keys were evicted`)
    const late = await instance(t, redis.url)
    t.equal(await refreshed(late.app, grants), 0, 'on an instance that starts now')
    t.equal(await refreshed(first.app, grants), 0, 'on the instance that revoked them')
    await logsIn(t, first)
    await logsIn(t, late)
  })
}

/** Asserts that a login on this instance gives a token that it accepts. */
async function logsIn(t: Test, { app }: Instance): Promise<void> {
  const { accessToken } = await app.sessions.start(reader)
  const headers = { authorization: `Bearer ${accessToken}` }
  const reply = await app.inject({ url: '/private', headers })
  t.same([reply.statusCode, reply.body], [200, 'here'], 'a login works')
}

await t.test('after DEL and FLUSHALL logins work, and no revoked session continues', async (t) => {
  const redis = await startRedis(t)
  if (redis === null) return
  const [a, b] = [await instance(t, redis.url), await instance(t, redis.url)]
  const revoked = await a.app.sessions.start(reader)
  await a.app.sessions.revoke({ userId: reader.id })
  await a.client.del('parapet:sessions:epoch')
  for (const each of [a, b]) await logsIn(t, each)
  t.match(await a.client.get('parapet:sessions:epoch'), /^[1-9]/)
  await a.client.flushall()
  for (const each of [a, b]) await logsIn(t, each)
  for (const { app } of [a, b, await instance(t, redis.url)]) {
    t.equal(await refreshed(app, [revoked]), 0)
    const headers = { authorization: `Bearer ${revoked.accessToken}` }
    const { statusCode } = await app.inject({ url: '/private', headers })
    t.ok([401, 503].includes(statusCode), `the revoked access token gets ${statusCode}`)
  }
})
