// Runs in a CommonJS app that has only installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const {
  securityHeaders,
  PARAPET_SECURITY_HEADERS_CROSS_SITE,
} = require('@parapet/security-headers')

async function main() {
  const app = Fastify()
  await app.register(securityHeaders, { preset: 'web' })
  app.get('/', async (request, reply) => reply.cspNonce.script)
  app.post('/', async () => 'never')
  const page = await app.inject('/')
  assert.equal(page.statusCode, 200)
  assert.ok(page.headers['content-security-policy'].includes(`'nonce-${page.body}'`))
  const forged = await app.inject({
    method: 'POST',
    url: '/',
    headers: { 'sec-fetch-site': 'cross-site' },
  })
  assert.equal(forged.statusCode, 403)
  assert.equal(forged.json().code, new PARAPET_SECURITY_HEADERS_CROSS_SITE().code)
  await app.close()

  // Fastify accepts the module that `require` returns, because it uses the default export.
  const other = Fastify()
  await other.register(require('@parapet/security-headers'))
  assert.equal(other.securityHeaders.headers['x-frame-options'], 'DENY')
  await other.close()
}

main()
