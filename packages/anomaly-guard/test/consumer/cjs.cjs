// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { anomalyGuard, rules, PARAPET_ANOMALY_GUARD_BLOCKED } = require('@parapet/anomaly-guard')

async function main() {
  const app = Fastify()
  await app.register(anomalyGuard, { mode: 'enforce', rules: [rules.bruteForce()] })
  app.post('/login', async (request, reply) => {
    request.anomaly.fail('login', { account: 'alice' })
    return reply.code(401).send({})
  })
  const attempt = () => app.inject({ method: 'POST', url: '/login' })
  for (let failed = 0; failed < 5; failed++) assert.equal((await attempt()).statusCode, 401)
  const reply = await attempt()
  assert.equal(reply.statusCode, 403)
  assert.equal(reply.json().code, new PARAPET_ANOMALY_GUARD_BLOCKED().code)
  await app.close()

  // What `require` returns is a module, and Fastify takes its default export.
  const other = Fastify()
  await other.register(require('@parapet/anomaly-guard'))
  assert.deepEqual(other.anomaly.contain.list(), [])
  await other.close()
}

main()
