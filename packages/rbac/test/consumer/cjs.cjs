// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { rbac, fromMap, testMatrix, PARAPET_RBAC_DENIED } = require('@parapet/rbac')

async function main() {
  const policy = fromMap({ 'content:read': ['viewer', 'admin'], 'content:write': ['admin'] })
  const app = Fastify()
  await app.register(rbac, { policy, principal: () => ({ id: 'v', roles: ['viewer'] }) })
  app.get('/read', { config: { rbac: 'content:read' } }, async () => 'read')
  app.get('/write', { config: { rbac: 'content:write' } }, async () => 'never')
  assert.equal((await app.inject('/read')).body, 'read')
  const reply = await app.inject('/write')
  assert.equal(reply.statusCode, 403)
  assert.equal(reply.json().code, new PARAPET_RBAC_DENIED().code)
  assert.deepEqual(await testMatrix(app), { checked: 12 })
  await app.close()

  // What `require` returns is a module, and Fastify takes its default export.
  const other = Fastify()
  await other.register(require('@parapet/rbac'), { policy })
  assert.equal(other.rbac.hasPermission(['viewer'], 'content:write'), false)
  other.get('/forgotten', async () => 'open')
  await assert.rejects(async () => other.ready(), { code: 'PARAPET_RBAC_UNDECLARED_ROUTES' })
}

main()
