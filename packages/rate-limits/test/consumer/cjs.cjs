// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { rateLimits, PARAPET_RATE_LIMITS_CLOSED } = require('@parapet/rate-limits')

async function main() {
  const app = Fastify()
  await app.register(rateLimits, { retryAfterSeconds: 5 })
  app.get('/reports', { config: { rateLimits: 'closed' } }, async () => 'never')
  const reply = await app.inject('/reports')
  assert.equal(reply.statusCode, 503)
  assert.equal(reply.headers['retry-after'], '5')
  assert.equal(reply.json().code, new PARAPET_RATE_LIMITS_CLOSED().code)
  await app.close()

  // What `require` returns is a module, and Fastify takes its default export.
  const other = Fastify()
  await other.register(require('@parapet/rate-limits'))
  assert.deepEqual(other.rateLimits.closedRoutes, [])
  await other.close()
}

main()
