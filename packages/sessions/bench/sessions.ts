/**
 * The cost of an authenticated request, compared with `@fastify/jwt` alone and the same key: for a token
 * that is seen for the first time, and for one that was verified before.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import { createMemoryStore, type Store } from '@parapet/kit'
import { generateSecret, sessions } from '@parapet/sessions'
import { goal, pairedBench } from '@parapet/testing'
import Fastify, { type FastifyInstance } from 'fastify'

const issuer = 'https://api.example.com'
const audience = 'example-api'
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

const secret = generateSecret()

/** Counts the store calls of the hot path. */
let storeCalls = 0
const store = new Proxy<Store>(createMemoryStore(), {
  get(target, name) {
    const value: unknown = Reflect.get(target, name)
    if (typeof value !== 'function') return value
    return (...args: unknown[]) => {
      storeCalls++
      return (value as (...given: unknown[]) => unknown).apply(target, args)
    }
  },
})

async function createBare(): Promise<FastifyInstance> {
  const app = Fastify()
  app.get('/', async () => 'here')
  await app.ready()
  return app
}

/** @param tokenCacheBytes 0: each token is seen for the first time. */
async function createGuarded(tokenCacheBytes: number): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(sessions, {
    issuer,
    audience,
    keys: { current: { pem } },
    secrets: [secret],
    store,
    tokenCacheBytes,
  })
  app.get('/', async () => 'here')
  await app.ready()
  return app
}

async function createPeer(cache: boolean): Promise<FastifyInstance> {
  const app = Fastify()
  const publicKey = createPublicKey(createPrivateKey(pem))
  await app.register(fastifyJwt, {
    secret: {
      private: pem,
      public: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    },
    sign: { algorithm: 'RS256' },
    verify: { algorithms: ['RS256'], allowedIss: issuer, allowedAud: audience, cache },
  })
  app.addHook('onRequest', async (request) => {
    await request.jwtVerify()
  })
  app.get('/', async () => 'here')
  await app.ready()
  return app
}

const bare = await createBare()
const first = await createGuarded(0)
const guarded = await createGuarded(33_554_432)
const peer = await createPeer(false)
const caching = await createPeer(true)
const { accessToken } = await guarded.sessions.start({ id: 'user-1', roles: ['reader'] })
// Some sessions are revoked, as in production.
for (let n = 0; n < 100; n++) {
  const other = await guarded.sessions.start({ id: `user-${n + 2}`, roles: [] })
  await guarded.sessions.revoke({ sessionId: other.sessionId })
}
const request = { url: '/', headers: { authorization: `Bearer ${accessToken}` } }
const apps = [bare, first, guarded, peer, caching]
for (const app of apps) {
  const { statusCode } = await app.inject(request)
  if (statusCode !== 200) throw new Error(`the token is refused with status ${statusCode}`)
}

storeCalls = 0
const BARE = 'bare, a whole request'
const CACHING = '@fastify/jwt with its cache, a whole request'
const SEEN = 'sessions, a whole request'
const result = await pairedBench({
  time: 'cpu',
  minMs: 200,
  cases: {
    '@fastify/jwt, verify()': () => peer.jwt.verify(accessToken),
    'sessions, first verify()': async () => first.sessions.verify(accessToken),
    'sessions, verify()': async () => guarded.sessions.verify(accessToken),
    [BARE]: async () => bare.inject(request),
    '@fastify/jwt, a whole request': async () => peer.inject(request),
    [CACHING]: async () => caching.inject(request),
    'sessions, a first request': async () => first.inject(request),
    [SEEN]: async () => guarded.inject(request),
  },
})
const hotPathStoreCalls = storeCalls
console.log(result.table)
const verify = result.ratio('sessions, first verify()', '@fastify/jwt, verify()')
const whole = result.ratio('sessions, a first request', '@fastify/jwt, a whole request')
goal('verify-to-fastify-jwt', verify.median, 1.25)
goal('request-to-fastify-jwt', whole.median, 1.25)
goal('seen-added-us', (result.cases[SEEN]!.median - result.cases[BARE]!.median) / 1000, 15)
goal('seen-added-to-fastify-jwt-cache', result.added(SEEN, CACHING, BARE).median, 0.6)
goal('hot-path-store-calls', hotPathStoreCalls, 0)
await Promise.all(apps.map((app) => app.close()))
