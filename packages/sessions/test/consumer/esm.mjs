// Runs in an ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import sessions, {
  createPasswordCheck,
  generateKey,
  generateSecret,
  hashPassword,
  sessions as named,
} from '@parapet/sessions'
import Fastify from 'fastify'

assert.equal(sessions, named)
const passwordHash = await hashPassword('right')
const app = Fastify()
await app.register(sessions, {
  issuer: 'https://api.example.com',
  audience: 'example-api',
  keys: { current: generateKey('a passphrase', 'EdDSA') },
  secrets: [generateSecret()],
  prefix: '/auth',
  cookies: {},
  credentials: createPasswordCheck({
    findAccount: async () => ({ user: { id: 'u-1', roles: [] }, passwordHash }),
  }),
})
const reply = await app.inject({
  method: 'POST',
  url: '/auth/login',
  headers: { 'sec-fetch-site': 'same-origin' },
  payload: { login: 'a', password: 'right' },
})
assert.equal(reply.statusCode, 200)
assert.deepEqual(
  reply.cookies.map(({ name }) => name),
  ['__Host-session', '__Host-refresh'],
)
await app.close()
