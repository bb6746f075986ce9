/** The cost of a verified request, compared with `@fastify/jwt` alone and the same key. */
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

async function createGuarded(): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(sessions, {
    issuer,
    audience,
    keys: { current: { pem } },
    secrets: [generateSecret()],
    store,
  })
  app.get('/', async () => 'here')
  await app.ready()
  return app
}

async function createPeer(): Promise<FastifyInstance> {
  const app = Fastify()
  const publicKey = createPublicKey(createPrivateKey(pem))
  await app.register(fastifyJwt, {
    secret: {
      private: pem,
      public: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    },
    sign: { algorithm: 'RS256' },
    verify: { algorithms: ['RS256'], allowedIss: issuer, allowedAud: audience },
  })
  app.addHook('onRequest', async (request) => {
    await request.jwtVerify()
  })
  app.get('/', async () => 'here')
  await app.ready()
  return app
}

const guarded = await createGuarded()
const peer = await createPeer()
const { accessToken } = await guarded.sessions.start({ id: 'user-1', roles: ['reader'] })
// Some sessions are revoked, as in production.
for (let n = 0; n < 100; n++) {
  const other = await guarded.sessions.start({ id: `user-${n + 2}`, roles: [] })
  await guarded.sessions.revoke({ sessionId: other.sessionId })
}
const request = { url: '/', headers: { authorization: `Bearer ${accessToken}` } }
for (const app of [guarded, peer]) {
  const { statusCode } = await app.inject(request)
  if (statusCode !== 200) throw new Error(`the token is refused with status ${statusCode}`)
}

storeCalls = 0
const result = await pairedBench({
  time: 'cpu',
  minMs: 200,
  cases: {
    '@fastify/jwt, verify()': () => peer.jwt.verify(accessToken),
    'sessions, verify()': async () => guarded.sessions.verify(accessToken),
    '@fastify/jwt, a whole request': async () => peer.inject(request),
    'sessions, a whole request': async () => guarded.inject(request),
  },
})
const hotPathStoreCalls = storeCalls
console.log(result.table)
const verify = result.ratio('sessions, verify()', '@fastify/jwt, verify()')
const whole = result.ratio('sessions, a whole request', '@fastify/jwt, a whole request')
goal('verify-to-fastify-jwt', verify.median, 1.25)
goal('request-to-fastify-jwt', whole.median, 1.25)
goal('hot-path-store-calls', hotPathStoreCalls, 0)
await Promise.all([guarded.close(), peer.close()])
