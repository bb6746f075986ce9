import { createManualClock, useSecurityEvents } from '@parapet/kit'
import {
  createEnvironmentProvider,
  createPinoHooks,
  Secret,
  secrets,
  type Secrets,
  type SecretsProvider,
} from '@parapet/secrets'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { resolveOptions } from '../src/options.ts'

const values = {
  API_KEY: 'yQ3bX9~k+T/0vZ pL"81mR4w',
  OTHER: '7f0dd2c54a1b9e83d6c5c9b0aa4411ee',
}

function createProvider(): SecretsProvider & { set(name: string, value: string): void } {
  const stored = new Map(Object.entries(values))
  let version = 1
  return {
    ...createEnvironmentProvider(values),
    read: async (path) => ({ value: stored.get(path)!, version: String(version) }),
    set(name, value) {
      version++
      stored.set(name, value)
    },
  }
}

async function create(t: Test, options: object = {}, logger: object | false = false) {
  const app = Fastify({ logger } as never) as unknown as FastifyInstance
  t.after(() => app.close())
  const events: string[] = []
  const provider = createProvider()
  const clock = createManualClock()
  const given = {
    secrets: { API_KEY: { provider, overlapMs: 1000 }, OTHER: { provider } },
    clock,
    environment: 'development',
    ...options,
  }
  useSecurityEvents(app).on('*', ({ type, details }) =>
    events.push(`${type} ${JSON.stringify(details)}`),
  )
  await app.register(secrets, given)
  return { app, events, provider, clock }
}

await t.test('a secret is loaded at boot and read by a handler', async (t) => {
  const { app } = await create(t)
  const loaded: string[] = []
  app.get('/', async () => {
    loaded.push(app.secrets.get('API_KEY').use((value) => value))
    return { ok: true }
  })
  t.equal((await app.inject('/')).statusCode, 200)
  t.same(loaded, [values.API_KEY])
  t.throws(() => app.secrets.get('NONE'), { code: 'PARAPET_SECRETS_UNKNOWN' })
})

await t.test('a reply with a secret is withheld, whole, encoded or in a header', async (t) => {
  const { app, events } = await create(t)
  const key = () => app.secrets.get('API_KEY').use((value) => value)
  app.get('/text', async () => `it is ${key()}`)
  app.get('/json', async () => ({ deep: [{ key: key() }] }))
  app.get('/base64', async () => Buffer.from(`x:${key()}`).toString('base64'))
  app.get('/buffer', async () => Buffer.from(key()))
  app.get('/header', async (_request, reply) =>
    reply.header('x-key', encodeURIComponent(key())).send('ok'),
  )
  app.get('/error', async () => {
    throw new Error(`failed with ${key()}`)
  })
  app.get('/fine', async () => 'nothing to see')
  for (const url of ['/text', '/json', '/base64', '/buffer', '/header', '/error']) {
    const reply = await app.inject(url)
    t.equal(reply.statusCode, 500, url)
    t.match(reply.json(), { code: 'PARAPET_SECRETS_LEAK' }, url)
    t.notMatch(JSON.stringify([reply.body, reply.headers]), 'yQ3b', url)
  }
  t.equal((await app.inject('/fine')).body, 'nothing to see')
  const once = events.length
  for (let i = 0; i < 3; i++) await app.inject('/text')
  t.equal(events.length, once, 'a leak of every request is one event a minute')
  const leaks = events.filter((line) => line.startsWith('secrets.leak_stopped'))
  t.ok(leaks.length >= 6)
  t.match(leaks[0], '{"secret":"API_KEY","where":"reply","suppressed":0}')
  t.match(leaks.join(), '"where":"header"')
})

await t.test(
  'with "report" a reply passes and is reported; with "off" nothing is searched',
  async (t) => {
    for (const leakGuard of ['report', 'off']) {
      const { app, events } = await create(t, { leakGuard })
      app.get('/', async () => app.secrets.get('OTHER').use((value) => value))
      const reply = await app.inject('/')
      t.same([reply.statusCode, reply.body], [200, values.OTHER])
      t.equal(
        events.some((line) => line.startsWith('secrets.leak_stopped')),
        leakGuard === 'report',
      )
    }
  },
)

await t.test(
  'a rotated value is guarded as well, and the former one until the overlap ends',
  async (t) => {
    const { app, events, provider, clock } = await create(t)
    app.get('/', async (request) => (request.query as { text: string }).text)
    const status = async (text: string) =>
      (await app.inject({ url: '/', query: { text } })).statusCode
    const next = 'a new value of the key 42'
    t.equal(await status(next), 200)
    provider.set('API_KEY', next)
    await app.secrets.refresh('API_KEY')
    t.same([await status(next), await status(values.API_KEY)], [500, 500])
    clock.advance(1000)
    t.same([await status(next), await status(values.API_KEY)], [500, 200])
    t.ok(events.includes('secrets.rotated {"secret":"API_KEY","version":"2","overlapMs":1000}'))
  },
)

await t.test('in production an error that the doctor finds stops the boot', async (t) => {
  const weak = { WEAK: 'password1', PORT: '3000' }
  const options = (environment: string, more: object = {}) => ({
    secrets: { WEAK: { provider: createEnvironmentProvider(weak) } },
    environment,
    ...more,
  })
  const boot = async (given: object) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(secrets, given)
    return app
  }
  await t.rejects(boot(options('production')), {
    code: 'PARAPET_SECRETS_UNSAFE',
    message: /"WEAK" is one of the first guesses/,
  })
  const app = await boot(options('development'))
  t.match(await app.secrets.doctor(), [{ severity: 'error', name: 'WEAK' }])
  await boot(options('production', { acceptWeak: { WEAK: 'a test' } }))
  await boot(options('production', { doctor: false }))
})

const boot = async (options: object) => {
  await Fastify().register(secrets, options)
}

await t.test('a missing secret, an unknown option or a wrong unit stops the boot', async (t) => {
  const provider = createEnvironmentProvider({})
  await t.rejects(boot({ secrets: { A: { provider } } }), {
    code: 'PARAPET_SECRETS_NOT_LOADED',
    message: /"A" from environment: There is no secret at the variable A/,
  })
  const code = 'PARAPET_SECRETS_INVALID_OPTION'
  await t.rejects(boot({ secret: {} }), { code, message: /did you mean "secrets"/ })
  await t.rejects(boot({ secrets: { A: { provider, overlap: 5 } } }), {
    code,
    message: /overlapMs/,
  })
  await t.rejects(boot({ secrets: { A: { provider: {} } } }), { code, message: /method read/ })
  await t.rejects(boot({ leakGuard: 'on' }), { code })
  await t.rejects(boot({ config: [] }), { code })
})

await t.test('everything ends with the app', async (t) => {
  let closed = 0
  const provider = {
    ...createProvider(),
    async close() {
      closed++
    },
  }
  const { app } = await create(t, { secrets: { API_KEY: { provider }, OTHER: { provider } } })
  await app.close()
  t.equal(closed, 1)
})

await t.test(
  'a full run shows no secret in any spelling: logs, errors, inspect, JSON',
  async (t) => {
    const lines: string[] = []
    const hooks = createPinoHooks()
    const stream = { write: (line: string) => void lines.push(line) }
    const { app, events, provider } = await create(t, {}, { hooks, stream, level: 'trace' })
    hooks.use(app.secrets.leaks)
    const output: string[] = []
    const key = app.secrets.get('API_KEY')
    const { inspect } = await import('node:util')
    app.get('/careless', async (request) => {
      request.log.info({ key, all: app.secrets }, 'careless')
      request.log.info(`plain ${key.use((value) => value)}`)
      request.log.error(new Error(key.use((value) => Buffer.from(value).toString('hex'))))
      return { key, current: key.current }
    })
    app.get('/worse', async () => {
      throw new Error(key.use((value) => encodeURIComponent(value)))
    })
    for (const url of ['/careless', '/worse']) {
      const { body, headers } = await app.inject(url)
      output.push(body, JSON.stringify(headers))
    }
    provider.set('API_KEY', 'next value of this key 77')
    app.secrets.onRotate('API_KEY', ({ next }) => {
      throw new Error(`cannot use ${next.use((value) => value)}`)
    })
    const failure = await app.secrets.refresh('API_KEY').catch((error: Error) => error)
    output.push((failure as Error).message)
    output.push(JSON.stringify(await app.secrets.doctor()), ...events, ...lines)
    const things: [string, Secrets | typeof key][] = [
      ['app', app.secrets],
      ['key', key],
    ]
    for (const [, thing] of things) {
      output.push(inspect(thing, { depth: 10, showHidden: true }), JSON.stringify(thing))
    }
    t.ok(lines.length > 6 && output.length > 15)
    const all = output.join('\n')
    for (const value of [...Object.values(values), 'next value of this key 77']) {
      const bytes = Buffer.from(value)
      const spellings = [value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)]
      for (const encoding of ['hex', 'base64', 'base64url'] as const)
        spellings.push(bytes.toString(encoding).replace(/=+$/, ''))
      for (const text of spellings) t.equal(all.split(text).length, 1, `no hit for ${text}`)
    }
  },
)

await t.test('a start that doctor stops closes the providers', async (t) => {
  let closed = 0
  const provider: SecretsProvider = {
    name: 'mine',
    read: async () => ({ value: 'changeme', version: '1' }),
    close: async () => void closed++,
  }
  const app = Fastify()
  t.after(() => app.close().catch(() => {}))
  const options = { environment: 'production', secrets: { KEY: { provider } } }
  const starting = (async () => app.register(secrets, options))()
  await t.rejects(starting, { code: 'PARAPET_SECRETS_UNSAFE' })
  t.equal(closed, 1)
})

await t.test('loading and examining fit into the time that Fastify gives a plugin', (t) => {
  const { deadlineMs } = resolveOptions({})
  const { pluginTimeout } = Fastify().initialConfig
  t.ok(2 * deadlineMs < pluginTimeout!, `2 × ${deadlineMs} ms`)
  t.end()
})

await t.test('a value that hooks refuse is known to the leak guard', async (t) => {
  const { app, provider } = await create(t)
  const next = 'b8ZqT4w1nR6uKs3EpXo0'
  const found: unknown[] = []
  app.secrets.onRotate('API_KEY', () => {
    found.push(app.secrets.leaks.find(next))
    throw new Error('refused')
  })
  provider.set('API_KEY', next)
  await t.rejects(app.secrets.refresh('API_KEY'))
  t.same([...found, app.secrets.leaks.find(next)], ['API_KEY', 'API_KEY'])
})

await t.test('secrets at any depth of the configuration are examined and guarded', async (t) => {
  const config = { db: { passwords: [new Secret('b8ZqT4w1nR6uKs3EpXo0'), new Secret('changeme')] } }
  const { app } = await create(t, { config })
  t.equal(app.secrets.leaks.find('b8ZqT4w1nR6uKs3EpXo0'), 'db.passwords.0')
  t.match(await app.secrets.doctor(), [{ name: 'db.passwords.1', problem: /placeholder/ }])
})

await t.test('findings of a provider can be accepted by its name', async (t) => {
  const provider: SecretsProvider = {
    ...createProvider(),
    name: 'files',
    inspect: async () => [{ severity: 'error', problem: 'mode 0444', fix: 'set 0400' }],
  }
  const options = { secrets: { OTHER: { provider } }, acceptWeak: { files: 'mode of Docker' } }
  const { app } = await create(t, { ...options, environment: 'production' })
  t.match(await app.secrets.doctor(), [{ name: 'files', severity: 'warning' }])
})
