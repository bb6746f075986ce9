// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import template, { template as named } from '@parapet/template'
import Fastify from 'fastify'

assert.equal(template, named)
const app = Fastify()
await app.register(template, {
  allowedRoles: ['operator'],
  principal: () => ({ id: 'op-1', roles: ['operator'] }),
})
const passed = []
app.securityEvents.on('template.passed', ({ details }) => passed.push(details.role))
app.get('/reports', { config: { template: 'closed' } }, async () => 'reports')
const reply = await app.inject('/reports')
assert.equal(reply.statusCode, 200)
assert.equal(reply.body, 'reports')
assert.deepEqual(passed, ['operator'])
await app.close()
