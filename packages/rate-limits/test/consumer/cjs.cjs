// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { rateLimits, PARAPET_RATE_LIMITS_EXCEEDED } = require('@parapet/rate-limits')

async function main() {
  const app = Fastify()
  await app.register(rateLimits)
  app.get('/reports', { config: { rateLimit: 'scraping' } }, async () => 'reports')
  for (let count = 0; count < 10; count++) {
    assert.equal((await app.inject('/reports')).statusCode, 200)
  }
  const reply = await app.inject('/reports')
  assert.equal(reply.statusCode, 429)
  assert.equal(reply.headers['retry-after'], '3600')
  assert.equal(reply.json().code, new PARAPET_RATE_LIMITS_EXCEEDED('1').code)
  await app.close()

  // What `require` returns is a module, and Fastify takes its default export.
  const other = Fastify()
  await other.register(require('@parapet/rate-limits'))
  assert.deepEqual(other.rateLimits.dryRunReport(), [])
  await other.close()
}

main()
