// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import rateLimits, { rateLimits as named } from '@parapet/rate-limits'
import Fastify from 'fastify'

assert.equal(rateLimits, named)
const app = Fastify()
await app.register(rateLimits, {
  allowedRoles: ['operator'],
  principal: () => ({ id: 'op-1', roles: ['operator'] }),
})
const passed = []
app.securityEvents.on('rate_limits.passed', ({ details }) => passed.push(details.role))
app.get('/reports', { config: { rateLimits: 'closed' } }, async () => 'reports')
const reply = await app.inject('/reports')
assert.equal(reply.statusCode, 200)
assert.equal(reply.body, 'reports')
assert.deepEqual(passed, ['operator'])
await app.close()
