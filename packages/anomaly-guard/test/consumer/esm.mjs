// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import anomalyGuard, { anomalyGuard as named } from '@parapet/anomaly-guard'
import Fastify from 'fastify'

assert.equal(anomalyGuard, named)
const app = Fastify()
await app.register(anomalyGuard)
const kinds = []
app.securityEvents.on('anomaly_guard.contained', ({ details }) => kinds.push(details.kind))
app.get('/', async () => 'here')
assert.equal((await app.inject('/')).statusCode, 200)
await app.anomaly.contain.readOnly({ reason: 'test', by: 'op' })
assert.equal((await app.inject({ method: 'POST', url: '/' })).statusCode, 423)
assert.deepEqual(kinds, ['read-only'])
// The challenge needs packages that are not installed here.
await assert.rejects(async () => Fastify().register(anomalyGuard, { challenge: {} }), {
  code: 'PARAPET_ANOMALY_GUARD_MISSING_PEER',
})
await app.close()
