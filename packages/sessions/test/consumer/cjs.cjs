// Runs in a CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { generateKey, generateSecret, sessions } = require('@parapet/sessions')

async function main() {
  const app = Fastify()
  await app.register(sessions, {
    issuer: 'https://api.example.com',
    audience: 'example-api',
    keys: { current: generateKey('a passphrase', 'RS256') },
    secrets: [generateSecret()],
  })
  app.get('/me', async (request) => request.principal.id)
  assert.equal((await app.inject('/me')).statusCode, 401)
  const { accessToken, refreshToken } = await app.sessions.start({ id: 'u-1', roles: [] })
  const headers = { authorization: `Bearer ${accessToken}` }
  assert.equal((await app.inject({ url: '/me', headers })).body, 'u-1')
  assert.ok((await app.sessions.refresh(refreshToken)).accessToken)
  await app.sessions.revoke('everyone')
  assert.equal((await app.inject({ url: '/me', headers })).statusCode, 401)
  await app.close()
}

main()
