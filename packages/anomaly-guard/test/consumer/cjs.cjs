// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { anomalyGuard, PARAPET_ANOMALY_GUARD_CLOSED } = require('@parapet/anomaly-guard')

async function main() {
  const app = Fastify()
  await app.register(anomalyGuard, { retryAfterSeconds: 5 })
  app.get('/reports', { config: { anomalyGuard: 'closed' } }, async () => 'never')
  const reply = await app.inject('/reports')
  assert.equal(reply.statusCode, 503)
  assert.equal(reply.headers['retry-after'], '5')
  assert.equal(reply.json().code, new PARAPET_ANOMALY_GUARD_CLOSED().code)
  await app.close()

  // What `require` returns is a module, and Fastify takes its default export.
  const other = Fastify()
  await other.register(require('@parapet/anomaly-guard'))
  assert.deepEqual(other.anomalyGuard.closedRoutes, [])
  await other.close()
}

main()
