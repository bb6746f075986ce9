// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import anomalyGuard, { anomalyGuard as named } from '@parapet/anomaly-guard'
import Fastify from 'fastify'

assert.equal(anomalyGuard, named)
const app = Fastify()
await app.register(anomalyGuard, {
  allowedRoles: ['operator'],
  principal: () => ({ id: 'op-1', roles: ['operator'] }),
})
const passed = []
app.securityEvents.on('anomaly_guard.passed', ({ details }) => passed.push(details.role))
app.get('/reports', { config: { anomalyGuard: 'closed' } }, async () => 'reports')
const reply = await app.inject('/reports')
assert.equal(reply.statusCode, 200)
assert.equal(reply.body, 'reports')
assert.deepEqual(passed, ['operator'])
await app.close()
