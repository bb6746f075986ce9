/** Several instances on a real Redis: races, pushed revocations, and outages. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createRedisStore, type RedisStoreOptions, type Store } from '@parapet/kit'
import { generateSecret, sessions, type SessionsOptions } from '@parapet/sessions'
import { plainNode, runs, startRedis, useRedis } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { baseOptions, codeOf, key, reader, secret } from './build.ts'

interface Instance {
  readonly app: FastifyInstance
  readonly client: Redis
  readonly store: Store
  /** The names of the store methods that were called. */
  readonly calls: string[]
  /** Sends `GET /private`, and checks of a refusal that the handler did not run. @returns the status */
  readonly ask: (token: string) => Promise<number>
}

interface Where {
  readonly url: string
  readonly prefix: string
}

/** Long deadlines, so that a busy machine causes no failure. */
const PATIENT = { deadlineMs: 60_000, heartbeatMs: 60_000 }
/** Short deadlines, to detect an outage soon. Calls before it use {@link patiently}. */
const HURRIED = { deadlineMs: 100, heartbeatMs: 100, cooldownMs: 50 }

async function instance(
  t: Test,
  where: Where,
  more: Partial<SessionsOptions> = {},
  pace: Partial<RedisStoreOptions> = PATIENT,
): Promise<Instance> {
  const client = new Redis(where.url, {
    retryStrategy: () => 20,
    autoResendUnfulfilledCommands: false,
  })
  client.on('error', () => {})
  const real = createRedisStore({
    client,
    prefix: where.prefix,
    ...pace,
    onError: (error) => t.fail(String(error)),
  })
  const calls: string[] = []
  const store = new Proxy(real, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        calls.push(String(name))
        return (value as (...a: unknown[]) => unknown).apply(target, args)
      }
    },
  })
  const app = Fastify()
  t.after(async () => {
    await app.close()
    await real.close()
    client.disconnect()
  })
  await app.register(sessions, { ...baseOptions, store, ...more })
  const handled = new Set<string>()
  let requests = 0
  app.get('/private', async (request) => {
    handled.add(String(request.headers['x-number']))
    return 'here'
  })
  await app.ready()
  async function ask(token: string): Promise<number> {
    const number = String(requests++)
    const headers = { authorization: `Bearer ${token}`, 'x-number': number }
    const reply = await app.inject({ url: '/private', headers })
    const { statusCode } = reply
    if (statusCode !== 200 && (handled.has(number) || codeOf(reply) !== CODES[statusCode])) {
      t.fail(`a refused request reached the handler, or has another code: ${reply.body}`)
    }
    return statusCode
  }
  return { app, client, store, calls, ask }
}

/** The code of each status with which a token is refused. */
const CODES: Readonly<Record<number, string>> = {
  401: 'PARAPET_SESSIONS_UNAUTHENTICATED',
  503: 'PARAPET_SESSIONS_UNAVAILABLE',
}

/** Sends requests until the status is `status`. @returns how long it took, and the other statuses */
async function untilStatus({ ask }: Instance, token: string, status: number) {
  const start = performance.now()
  const seen = new Set<number>()
  for (;;) {
    const answer = await ask(token)
    if (answer === status) return { ms: performance.now() - start, seen }
    seen.add(answer)
    await new Promise(setImmediate)
  }
}

async function untilState({ app }: Instance, state: string): Promise<void> {
  while (app.sessions.revocationState !== state) await new Promise(setImmediate)
}

/** Retries while the store is too slow: a busy machine may miss the short deadline. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!/^PARAPET_(KIT_STORE|SESSIONS_UNAV)/.test((error as { code: string }).code)) throw error
      await new Promise(setImmediate)
    }
  }
}

/** Whether times are asserted: only under `pnpm soak`, on a quiet machine. */
const measures = runs(0, 1) === 1

/** Starts a process that refreshes a token many times at once. */
async function startRefreshWorker(t: Test, where: Where) {
  const file = fileURLToPath(new URL('refresh-worker.ts', import.meta.url))
  const [command, args] = plainNode([file])
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => void child.kill())
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value as string) as WorkerResult
  child.stdin.write(`${JSON.stringify({ ...where, key, secret })}\n`)
  await next()
  return async (refreshToken: string, times: number) => {
    child.stdin.write(`${JSON.stringify({ refreshToken, times })}\n`)
    return next()
  }
}

const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }

export interface WorkerResult {
  readonly successors: readonly string[]
  readonly rotations: number
  readonly failures: number
}

await t.test('500 concurrent refreshes from two processes cause one rotation', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  // A longer grace period than the default, because a busy machine may be slow.
  const home = await instance(t, redis, { refreshGraceMs: 60_000 })
  const workers = [await startRefreshWorker(t, redis), await startRefreshWorker(t, redis)]
  for (let round = 0; round < runs(1, 5); round++) {
    const { refreshToken } = await home.app.sessions.start(reader)
    const answers = await Promise.all(workers.map((refresh) => refresh(refreshToken, 250)))
    t.equal(
      answers.reduce((sum, { failures }) => sum + failures, 0),
      0,
      'no refresh failed',
    )
    t.equal(
      answers.reduce((sum, { rotations }) => sum + rotations, 0),
      1,
      'one rotation',
    )
    const successors = new Set(answers.flatMap((answer) => answer.successors))
    t.equal(successors.size, 1, 'one successor')
    const [successor] = successors
    t.ok(await home.app.sessions.refresh(successor!), 'the successor works')
    await t.rejects(home.app.sessions.refresh(refreshToken), refused, 'reuse is detected')
    await t.rejects(home.app.sessions.refresh(successor!), refused, 'the session has ended')
  }
})

await t.test('a Redis dump contains no credential', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const { app, client, ask } = await instance(t, redis)
  const { refreshToken, accessToken, sessionId } = await app.sessions.start(reader)
  const { text } = await app.sessions.apiKeys.create({ ownerId: 'user-1', name: 'ci', scopes: [] })
  const keys = await client.keys(`${redis.prefix}*`)
  const dump: string[] = [...keys]
  for (const name of keys) {
    const type = await client.type(name)
    if (type === 'string') dump.push((await client.get(name))!)
    else if (type === 'zset') dump.push(...(await client.zrange(name, '0', '-1')))
  }
  t.ok(
    dump.some((line) => line.includes(sessionId)),
    'the dump contains this session',
  )
  for (const credential of [refreshToken, accessToken, text]) {
    t.notOk(dump.some((line) => line.includes(credential)))
  }
  // Every word of the dump is tried as a credential.
  const words = new Set(dump.flatMap((line) => line.match(/[\w-]{16,}/g) ?? []))
  for (const word of words) {
    await t.rejects(app.sessions.refresh(word), refused)
    t.equal(await ask(word), 401)
  }
  const record = (await client.get(`${redis.prefix}sessions:session:${sessionId}`))!
  t.ok(record.length <= 200, `${record.length} bytes a session`)
})

await t.test('revocations reach the other instance, which makes no store call', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const roles = new Map([['user-1', ['reader']]])
  const findUser = async (id: string) => {
    const found = roles.get(id)
    return found === undefined ? null : { id, roles: found }
  }
  const [a, b] = [await instance(t, redis, { findUser }), await instance(t, redis, { findUser })]
  await Promise.all([untilState(a, 'pushed'), untilState(b, 'pushed')])
  const revocations: [
    name: string,
    revoke: (token: { tokenId: string; sessionId: string }) => Promise<void>,
  ][] = [
    ['the token', ({ tokenId }) => a.app.sessions.revoke({ tokenId })],
    ['the session', ({ sessionId }) => a.app.sessions.revoke({ sessionId })],
    ['the user', () => a.app.sessions.revoke({ userId: 'user-1' })],
    ['everyone', () => a.app.sessions.revoke('everyone')],
    ['a role change', () => a.app.sessions.userChanged('user-1')],
    ['a disable', () => a.app.sessions.disableUser('user-1')],
  ]
  for (const [name, revoke] of revocations) {
    const grant = await a.app.sessions.start(reader)
    const bystander = await a.app.sessions.start({ id: 'user-2', roles: [] })
    t.equal(await b.ask(grant.accessToken), 200)
    const token = await b.app.sessions.verify(grant.accessToken)
    b.calls.length = 0
    await revoke(token)
    const { ms } = await untilStatus(b, grant.accessToken, 401)
    t.ok(!measures || ms < 250, `${name}: refused on the other instance after ${ms.toFixed(1)} ms`)
    t.equal(await a.ask(grant.accessToken), 401)
    t.equal(
      await b.ask(bystander.accessToken),
      name === 'everyone' ? 401 : 200,
      'others are not affected',
    )
    t.same(b.calls, [], `${name}: no store call`)
  }
  const { refreshToken } = await a.app.sessions.start(reader)
  roles.set('user-1', ['editor'])
  await a.app.sessions.userChanged('user-1')
  const renewed = await b.app.sessions.refresh(refreshToken)
  t.same((await b.app.sessions.verify(renewed.accessToken)).user.roles, ['editor'], 'the new roles')
  roles.delete('user-1')
  await t.rejects(b.app.sessions.refresh(renewed.refreshToken), refused, 'a deleted user')
})

const SLOWEST_MS = 100 + 150 // The deadline of the store, and a margin for a busy machine.

for (const [how, name] of [
  ['kill', 'SIGKILL'],
  ['pause', 'SIGSTOP'],
] as const) {
  await t.test(`Redis stopped by ${name} under load: requests are refused in time`, async (t) => {
    const server = await startRedis(t)
    if (server === null) return
    const where = { url: server.url, prefix: 'p:' }
    const hurried = () => instance(t, where, {}, HURRIED)
    const [a, b] = [await hurried(), await hurried()]
    const good = await patiently(() => a.app.sessions.start(reader))
    const dead = await patiently(() => a.app.sessions.start({ id: 'user-2', roles: [] }))
    await patiently(() => a.app.sessions.revoke({ sessionId: dead.sessionId }))
    await untilStatus(b, dead.accessToken, 401)

    const slowest = { ms: 0 }
    const seen = new Set<number>()
    let wrong = 0
    const load = { over: false }
    const callers = Array.from({ length: 8 }, async (_, n) => {
      while (!load.over) {
        const start = performance.now()
        const status = await (n % 2 === 0 ? a : b).ask(n < 4 ? good.accessToken : dead.accessToken)
        slowest.ms = Math.max(slowest.ms, performance.now() - start)
        if (n >= 4 && status === 200) wrong++
        seen.add(status)
        await new Promise(setImmediate)
      }
    })
    await server[how]()
    await Promise.all([untilState(a, 'checked'), untilState(b, 'checked')])
    await untilStatus(b, good.accessToken, 503)
    // Effective on this instance at once, even if the message cannot be published.
    await t.rejects(a.app.sessions.revoke({ sessionId: good.sessionId }), {
      code: /^PARAPET_KIT_STORE_/,
      statusCode: 503,
    })
    t.equal(await a.ask(good.accessToken), 401, 'the revocation is effective on this instance')
    t.notOk(seen.has(500), 'no request got 500')

    if (how === 'kill') await server.restart()
    else server.resume()
    await Promise.all([untilState(a, 'pushed'), untilState(b, 'pushed')])
    await untilStatus(b, dead.accessToken, 401)
    load.over = true
    await Promise.all(callers)
    t.equal(wrong, 0, 'a revoked token was never accepted, even after Redis lost its data')
    const slow = measures && slowest.ms >= SLOWEST_MS
    t.notOk(slow, `the slowest request took ${slowest.ms.toFixed(0)} ms`)
    const again = await patiently(() => b.app.sessions.start(reader))
    await untilStatus(a, again.accessToken, 200)
  })
}

await t.test(
  'an instance that starts while the store is down refuses tokens until it recovers',
  async (t) => {
    const server = await startRedis(t)
    if (server === null) return
    const where = { url: server.url, prefix: 'p:' }
    const a = await instance(t, where)
    const { accessToken } = await a.app.sessions.start(reader)
    const revoked = await a.app.sessions.start(reader)
    await a.app.sessions.revoke({ sessionId: revoked.sessionId })
    await server.pause()
    const b = await instance(t, where, {}, HURRIED)
    t.equal(b.app.sessions.revocationState, 'checked')
    t.equal(await b.ask(accessToken), 503)
    server.resume()
    await untilState(b, 'pushed')
    await untilStatus(b, accessToken, 200)
    const { seen } = await untilStatus(b, revoked.accessToken, 401)
    t.notOk(seen.has(200), 'it loaded the earlier revocations')
  },
)

await t.test('an app closes while the store hangs', async (t) => {
  const server = await startRedis(t)
  if (server === null) return
  const { app } = await instance(t, { url: server.url, prefix: 'p:' }, {}, HURRIED)
  await server.pause()
  await app.close()
  t.pass('closed')
})

await t.test('a refresh token of another secret is refused', async (t) => {
  const redis = await useRedis(t)
  if (redis === null) return
  const [a, b] = [
    await instance(t, redis),
    await instance(t, redis, { secrets: [generateSecret()] }),
  ]
  const { refreshToken } = await a.app.sessions.start(reader)
  await t.rejects(b.app.sessions.refresh(refreshToken), refused)
  const c = await instance(t, redis, { secrets: [generateSecret(), secret] })
  t.ok(await c.app.sessions.refresh(refreshToken), 'an older secret is still accepted')
})
