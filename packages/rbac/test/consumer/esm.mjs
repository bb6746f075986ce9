// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import rbac, { rbac as named, definePolicy, eq } from '@parapet/rbac'
import Fastify from 'fastify'

assert.equal(rbac, named)
const policy = definePolicy({
  permissions: ['doc:edit'],
  resources: { doc: { ownerId: 'string' } },
  roles: {
    author: { when: { 'doc:edit': ({ resource, subject }) => eq(resource.ownerId, subject.id) } },
  },
})
const app = Fastify()
await app.register(rbac, { policy, principal: () => ({ id: 'ann', roles: ['author'] }) })
const denied = []
app.securityEvents.on('rbac.denied', ({ details }) => denied.push(details.reason))
const resource = (request) => ({ ownerId: request.params.owner })
app.get('/:owner', { config: { rbac: { permission: 'doc:edit', resource } } }, async () => 'edited')
assert.equal((await app.inject('/ann')).statusCode, 200)
assert.equal((await app.inject('/bob')).statusCode, 403)
assert.deepEqual(denied, ['condition_failed'])
await app.close()
