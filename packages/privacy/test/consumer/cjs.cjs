// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const { randomBytes } = require('node:crypto')
const Fastify = require('fastify')
const { privacy, PARAPET_PRIVACY_CONSENT_REQUIRED } = require('@parapet/privacy')

const options = {
  controller: { name: 'Acme', contact: 'privacy@example.org' },
  secret: randomBytes(32).toString('base64url'),
  keys: `1:${randomBytes(32).toString('base64url')}`,
  deliver: async () => undefined,
  purposes: { mail: { title: 'News', noticeVersion: '1', noticeText: 'We send news.' } },
}

async function main() {
  const app = Fastify()
  await app.register(privacy, options)
  app.get('/news', { config: { consent: 'mail' } }, async () => 'never')
  const reply = await app.inject('/news')
  assert.equal(reply.statusCode, 403)
  assert.equal(reply.json().code, new PARAPET_PRIVACY_CONSENT_REQUIRED().code)
  await app.close()

  // What `require` returns is a module, and Fastify takes its default export.
  const other = Fastify()
  await other.register(require('@parapet/privacy'), options)
  assert.equal((await other.inject('/privacy/keys')).statusCode, 200)
  await other.close()
}

main()
