/** Mistakes in how the plugin is registered, and in what the application's functions return. */
import { createManualClock } from '@parapet/kit'
import {
  createPasswordCheck,
  hashPassword,
  sessions,
  type SessionsOptions,
} from '@parapet/sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import {
  baseOptions,
  build,
  eventsOf,
  reader,
  refusalOf,
  unauthenticated,
  type Built,
} from './build.ts'

const UNAVAILABLE = [503, 'PARAPET_SESSIONS_UNAVAILABLE']
const LOGIN_FAILED = [401, 'PARAPET_SESSIONS_LOGIN_FAILED']

await t.test(
  'routes of a plugin that was registered before are protected as all others',
  async (t) => {
    for (const isAwaited of [false, true]) {
      const app = Fastify()
      t.after(() => app.close())
      const handled: string[] = []
      const route = (context: FastifyInstance, url: string, config = {}) =>
        context.get(url, { config }, async (request) => {
          handled.push(url)
          return { id: request.principal?.id ?? null }
        })
      const earlier = app.register(async (context) => {
        route(context, '/admin')
        route(context, '/open', { sessions: 'optional' })
        await context.register(async (inner) => void route(inner, '/inner'))
      })
      if (isAwaited) await earlier
      await app.register(sessions, baseOptions)
      for (const url of ['/admin', '/inner']) {
        t.same(refusalOf(await app.inject(url)), [401, unauthenticated.code], url)
      }
      t.same(handled, [], 'no handler ran')
      t.equal((await app.inject('/open')).statusCode, 200)
      const { accessToken } = await app.sessions.start(reader)
      const headers = { authorization: `Bearer ${accessToken}` }
      for (const url of ['/admin', '/inner', '/open']) {
        t.same((await app.inject({ url, headers })).json(), { id: reader.id }, url)
      }
    }
  },
)

const logIn = ({ app }: Built, login = 'a') =>
  app.inject({ method: 'POST', url: '/auth/login', payload: { login, password: 'right' } })

await t.test('`undefined` means "no such user", as `null` does', async (t) => {
  const passwordHash = await hashPassword('other')
  const accounts = new Map([['known', { user: reader, passwordHash }]])
  const findAccount = async (login: string) => accounts.get(login)
  const checked = await build(t, {
    prefix: '/auth',
    credentials: createPasswordCheck({ findAccount }),
  })
  const replies = await Promise.all(['known', 'unknown'].map((login) => logIn(checked, login)))
  t.same(replies.map(refusalOf), [LOGIN_FAILED, LOGIN_FAILED])
  t.equal(replies[0]!.body, replies[1]!.body)
  const refusing = await build(t, { prefix: '/auth', credentials: async () => undefined })
  t.same(refusalOf(await logIn(refusing)), LOGIN_FAILED)

  const users = new Map([['user-1', reader]])
  const built = await build(t, { findUser: async (id) => users.get(id) })
  const { refreshToken } = await built.start()
  const { text } = await built.app.sessions.apiKeys.create({
    ownerId: 'user-1',
    name: 'ci',
    scopes: [],
  })
  t.equal((await built.ask(text)).status, 200)
  users.clear()
  await built.refuses(text)
  const refused = { code: 'PARAPET_SESSIONS_REFRESH_REFUSED', statusCode: 401 }
  await t.rejects(built.app.sessions.refresh(refreshToken), refused)
})

await t.test(
  'a malformed user of the application is 503, and its content is not sent',
  async (t) => {
    const malformed = [{ id: 'user-1', roles: 'secret-role' }, { id: 'user-1' }, 'secret', true]
    for (const user of malformed as never[]) {
      const name = JSON.stringify(user)
      const built = await build(t, { prefix: '/auth', credentials: async () => user })
      const reply = await logIn(built)
      t.same(refusalOf(reply), UNAVAILABLE, `credentials: ${name}`)
      t.notMatch(reply.body, 'secret')
      t.same(eventsOf(built.events, 'sessions.login_succeeded'), [])
      const found = await build(t, { findUser: async () => user })
      const { refreshToken } = await found.start()
      const unavailable = { code: UNAVAILABLE[1], statusCode: 503, message: /does not answer/ }
      await t.rejects(found.app.sessions.refresh(refreshToken), unavailable, `findUser: ${name}`)
      const { text } = await found.app.sessions.apiKeys.create({
        ownerId: 'u',
        name: 'ci',
        scopes: [],
      })
      t.match(await found.ask(text), { status: 503, code: UNAVAILABLE[1], handlerRan: false })
    }
    for (const methods of [undefined, null, 'totp', 1] as never[]) {
      const secondFactor = { methodsOf: async () => methods, verify: async () => t.fail() as never }
      const built = await build(t, {
        prefix: '/auth',
        secondFactor,
        credentials: async () => reader,
      })
      t.same(refusalOf(await logIn(built)), UNAVAILABLE, `methodsOf: ${String(methods)}`)
      t.same(eventsOf(built.events, 'sessions.login_succeeded'), [], 'no session started')
    }
  },
)

await t.test('options that cannot work fail the boot', async (t) => {
  const faults: [options: Partial<SessionsOptions>, message: RegExp][] = [
    [{ issuer: 'x' }, /"issuer" must be a URL/],
    [
      { cookies: { trustedOrigins: ['https://*.example.com'] } },
      /"cookies.trustedOrigins\[0\]" must be an origin .* without wildcards/,
    ],
    [{ acceptUnsealedUntil: 9e14 }, /"acceptUnsealedUntil" must be a time of the next 365 days/],
  ]
  for (const [options, message] of faults) {
    const expected = { code: 'PARAPET_SESSIONS_INVALID_OPTION', message }
    await t.rejects(build(t, options), expected)
  }
})

await t.test('a plugin that came too late is named at the end of the boot', async (t) => {
  const late = ['@fastify/cors', '@fastify/rate-limit']
  for (const isLate of [true, false]) {
    const lines: string[] = []
    const stream = { write: (line: string) => void lines.push(line) }
    const app = Fastify({ logger: { stream, level: 'warn' } })
    t.after(() => app.close())
    const others = async () => {
      for (const name of late) await app.register(fp(async () => {}, { name }))
    }
    if (!isLate) await others()
    await app.register(sessions, baseOptions)
    if (isLate) await others()
    await app.ready()
    for (const name of late) {
      const warned = lines.some((line) => line.includes(`registered before ${name}`))
      t.equal(warned, isLate, `${name} ${isLate ? 'after' : 'before'} sessions`)
    }
  }
})

await t.test('while records without a seal are accepted, the boot says so', async (t) => {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  const app = Fastify({ logger: { stream, level: 'warn' } })
  t.after(() => app.close())
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const acceptUnsealedUntil = clock.now() + 1000
  await app.register(sessions, { ...baseOptions, clock, acceptUnsealedUntil })
  t.match(lines.join(''), /without a seal until 2026-01-15T00:00:01/)
})
