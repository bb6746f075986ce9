// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { inputGuard, PARAPET_INPUT_GUARD_CLOSED } = require('@parapet/input-guard')

async function main() {
  const app = Fastify()
  await app.register(inputGuard, { retryAfterSeconds: 5 })
  app.get('/reports', { config: { inputGuard: 'closed' } }, async () => 'never')
  const reply = await app.inject('/reports')
  assert.equal(reply.statusCode, 503)
  assert.equal(reply.headers['retry-after'], '5')
  assert.equal(reply.json().code, new PARAPET_INPUT_GUARD_CLOSED().code)
  await app.close()

  // What `require` returns is a module, and Fastify takes its default export.
  const other = Fastify()
  await other.register(require('@parapet/input-guard'))
  assert.deepEqual(other.inputGuard.closedRoutes, [])
  await other.close()
}

main()
