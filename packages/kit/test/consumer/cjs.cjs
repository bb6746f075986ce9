// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const {
  createMemoryStore,
  declarePhase,
  useSecurityEvents,
  useStoreEvents,
} = require('@parapet/kit')

async function main() {
  const app = Fastify()
  const store = createMemoryStore()
  useStoreEvents(app, store)
  assert.equal(useSecurityEvents(app), app.securityEvents)
  assert.equal(await store.setIfAbsent('a', 'b', 1000), true)
  assert.equal(await store.setIfAbsent('a', 'c', 1000), false)
  declarePhase(app, '@parapet/rbac', 'authorization')
  assert.throws(() => declarePhase(app, '@parapet/sessions', 'authentication'), {
    code: 'PARAPET_KIT_WRONG_ORDER',
  })
  await app.close()
}

main()
