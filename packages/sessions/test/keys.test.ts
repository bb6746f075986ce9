/** Signing keys: algorithms, rotation, and the published key set. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createMemoryStore } from '@parapet/kit'
import fastifyJwt from '@fastify/jwt'
import {
  allowRsa2048,
  createJwsGate,
  generateKey,
  sessions,
  type KeyInput,
  type PublishedKey,
} from '@parapet/sessions'
import { runs } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { baseOptions, build, eventsOf, key, passphrase } from './build.ts'

const notPublished = { code: 'PARAPET_SESSIONS_KEY_NOT_PUBLISHED', statusCode: 500 }
const invalidKey = { code: 'PARAPET_SESSIONS_INVALID_KEY', statusCode: 500 }

function pemOf(publicKey: KeyObject): string {
  return publicKey.export({ type: 'spki', format: 'pem' }).toString()
}

await t.test('RS256 from an encrypted PEM, ES256 and EdDSA sign tokens', async (t) => {
  for (const algorithm of ['RS256', 'ES256', 'EdDSA'] as const) {
    const keys = { current: generateKey(passphrase, algorithm) }
    t.match(keys.current.pem, /BEGIN ENCRYPTED PRIVATE KEY/)
    const { ask, start, app } = await build(t, { keys })
    const { accessToken } = await start()
    t.equal((await ask(accessToken)).status, 200, algorithm)
    const [header] = accessToken.split('.')
    const [published] = app.sessions.jwks().keys
    t.same(JSON.parse(Buffer.from(header!, 'base64url').toString()), {
      alg: algorithm,
      typ: 'at+jwt',
      kid: published!.kid,
    })
    t.notOk(
      JSON.stringify(app.sessions.jwks()).match(/"(?:d|p|q|dp|dq|qi)":/),
      'no private member is published',
    )
  }
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const pem = rsa.export({ type: 'pkcs8', format: 'pem' }).toString()
  const { ask, start } = await build(t, { keys: { current: { pem } }, [allowRsa2048]: true })
  t.equal((await ask((await start()).accessToken)).status, 200, 'RSA of 2048 bits if allowed')
})

await t.test('keys rotate without refusing a token', async (t) => {
  const [next, third] = [generateKey(passphrase), generateKey(passphrase, 'EdDSA')]
  const options = { keys: { current: key, next }, prefix: '/auth' }
  const { app, start, ask, clock, events } = await build(t, options)
  const before = await start()
  const tag = (await app.inject('/.well-known/jwks.json')).headers.etag
  t.throws(() => app.sessions.rotateKeys({ current: third }), notPublished)
  const [oldId, newId] = app.sessions.jwks().keys.map(({ kid }) => kid)

  app.sessions.rotateKeys({ current: next, next: third })
  const after = await start()
  t.equal((await ask(before.accessToken)).status, 200, 'a token of the old key')
  t.equal((await ask(after.accessToken)).status, 200, 'a token of the new key')
  t.equal(app.sessions.jwks().keys.length, 3)
  t.match(eventsOf(events, 'sessions.key_rotated'), [
    { details: { keyId: newId, retiredKeyIds: [oldId] } },
  ])
  t.not((await app.inject('/.well-known/jwks.json')).headers.etag, tag)

  clock.advance(900_000 + 60_000)
  const ids = app.sessions.jwks().keys.map(({ kid }) => kid)
  t.notOk(ids.includes(oldId!), 'the old key is gone after its last token has expired')
  t.throws(() => app.sessions.rotateKeys({ current: key }), notPublished)
  app.sessions.rotateKeys({ current: next, next: key })
  t.equal(eventsOf(events, 'sessions.key_rotated').length, 1, 'no event if the same key signs')
})

await t.test('a retired public key verifies, and cannot sign', async (t) => {
  const old = await build(t)
  const { accessToken } = await old.start()
  const pem = pemOf(createPublicKey(createPrivateKey({ key: key.pem, passphrase })))
  const next = generateKey(passphrase)
  const { ask } = await build(t, { keys: { current: next, retired: [{ pem }] } })
  t.equal((await ask(accessToken)).status, 200)
  await t.rejects(build(t, { keys: { current: { pem } } }), {
    ...invalidKey,
    message: 'The key "current" cannot be used: expected a private key, got a public key',
  })
})

await t.test('the key set supports If-None-Match, and verifies tokens elsewhere', async (t) => {
  const { app, start } = await build(t, { prefix: '/auth' })
  const reply = await app.inject('/.well-known/jwks.json')
  t.equal(reply.statusCode, 200)
  t.equal(reply.headers['cache-control'], 'public, max-age=300')
  t.match(reply.json(), {
    keys: [{ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', kid: /^[\w-]{43}$/ }],
  })
  const tag = String(reply.headers.etag)
  for (const known of [tag, `W/${tag}`, `"x", ${tag}`, '*']) {
    const again = await app.inject({
      url: '/.well-known/jwks.json',
      headers: { 'if-none-match': known },
    })
    t.same([again.statusCode, again.body], [304, ''], known)
  }
  const { accessToken } = await start()
  const found = createJwsGate(reply.json<{ keys: never[] }>().keys)(accessToken)
  t.match(JSON.parse(String(found?.payload)), { sub: 'user-1', roles: ['reader'] })
})

/** Registers `@fastify/jwt` as an application does, with a resolver of the published keys by `kid`. */
async function registerFastifyJwt(
  app: FastifyInstance,
  publishedKeys: () => readonly PublishedKey[],
): Promise<void> {
  await app.register(fastifyJwt, {
    decode: { complete: true },
    secret: (_request, decoded, done) => {
      const { kid } = (decoded as { header: { kid: string } }).header
      const jwk = publishedKeys().find((each) => each.kid === kid)
      if (jwk === undefined) done(new Error('unknown key'), undefined)
      else done(null, pemOf(createPublicKey({ key: jwk, format: 'jwk' })))
    },
    verify: { algorithms: ['ES256'] },
  })
}

for (const order of ['before', 'after'] as const) {
  await t.test(`an app can register @fastify/jwt itself, ${order} this plugin`, async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    const keys = () => app.sessions.jwks().keys
    if (order === 'before') await registerFastifyJwt(app, keys)
    await app.register(sessions, baseOptions)
    if (order === 'after') await registerFastifyJwt(app, keys)
    app.get('/', async (request) => request.jwtVerify<{ sub: string }>())
    const { accessToken } = await app.sessions.start({ id: 'user-1', roles: [] })
    const headers = { authorization: `Bearer ${accessToken}` }
    const reply = await app.inject({ url: '/', headers })
    t.equal(reply.statusCode, 200, reply.body)
    t.match(reply.json(), { sub: 'user-1' }, 'and it verifies the tokens of this plugin')
  })
}

/** A service that loads the published keys, and loads them again for a key that it does not know. */
function createRelyingService(url: string): (token: string) => Promise<boolean> {
  let gate = createJwsGate([])
  return async (token) => {
    if (gate(token) !== null) return true
    const reply = await fetch(`${url}/.well-known/jwks.json`)
    gate = createJwsGate(((await reply.json()) as { keys: never[] }).keys)
    return gate(token) !== null
  }
}

interface Fleet {
  readonly rotate: (instance: number, keys: { current: KeyInput; next?: KeyInput }) => void
  /** Sends requests with new and old tokens to both instances. @returns the failures */
  readonly load: (requests: number) => Promise<string[]>
}

/** Two instances that share a store and listen on loopback, and two services that have only their keys. */
async function startFleet(t: Test): Promise<Fleet> {
  const store = createMemoryStore({ maxBytes: 2 ** 30 })
  const options = { store, prefix: '/auth' }
  const apps = [(await build(t, options)).app, (await build(t, options)).app]
  const urls = await Promise.all(apps.map((app) => app.listen({ host: '127.0.0.1', port: 0 })))
  const services = urls.map(createRelyingService)
  const tokens: string[] = []
  const failures: string[] = []
  async function verifyEverywhere(name: string, token: string): Promise<void> {
    const authorization = `Bearer ${token}`
    for (const url of urls) {
      const reply = await fetch(`${url}/private`, { headers: { authorization } })
      // The body is read because an unread response blocks its connection.
      const text = await reply.text()
      if (reply.status !== 200) failures.push(`${name}: ${reply.status} ${text}`)
    }
    for (const accepts of services) {
      if (!(await accepts(token))) failures.push(`${name}: refused with the published keys`)
    }
  }
  async function request(n: number): Promise<void> {
    const issuing = n % 2
    const user = { id: `user-${n}`, roles: [] }
    const { accessToken, refreshToken } = await apps[issuing]!.sessions.start(user)
    tokens.push(accessToken)
    // Issued by one instance and refreshed by the other, whichever of them has rotated.
    const reply = await fetch(`${urls[1 - issuing]}/auth/refresh`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ refreshToken }),
    })
    const { access_token: renewed } = (await reply.json()) as { access_token: string }
    const oldest = tokens[(n * 7919) % tokens.length]!
    for (const [name, token] of Object.entries({ accessToken, renewed, oldest })) {
      await verifyEverywhere(name, token)
    }
  }
  return {
    rotate: (instance, keys) => apps[instance]!.sessions.rotateKeys(keys),
    async load(requests) {
      let next = 0
      const caller = async (): Promise<void> => {
        while (next < requests) await request(next++)
      }
      await Promise.all(Array.from({ length: 10 }, caller))
      return failures
    },
  }
}

await t.test('a rotation on two instances under load fails no request', async (t) => {
  const fleet = await startFleet(t)
  const each = runs(10, 200)
  const algorithms = ['EdDSA', 'ES256'] as const
  let current = key
  for (const algorithm of algorithms) {
    const next = generateKey(passphrase, algorithm)
    for (const keys of [{ current, next }, { current: next }]) {
      for (const instance of [0, 1]) {
        const loaded = fleet.load(each)
        fleet.rotate(instance, keys)
        t.same(await loaded, [], `${algorithm}: instance ${instance}`)
      }
    }
    current = next
  }
  t.comment(`${each * algorithms.length * 4 * 13} requests during the rotations`)
})
