// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import rateLimits, { rateLimits as named } from '@parapet/rate-limits'
import Fastify from 'fastify'

assert.equal(rateLimits, named)
const app = Fastify()
await app.register(rateLimits, { principal: () => ({ id: 'op-1', roles: ['operator'] }) })
const exceeded = []
app.securityEvents.on('rate_limits.exceeded', ({ details }) => exceeded.push(details.key))
app.get('/reports', { config: { rateLimit: ['scraping', 'user'] } }, async () => 'reports')
for (let count = 0; count < 11; count++) await app.inject('/reports')
assert.deepEqual(exceeded, ['ip'])
assert.equal((await app.rateLimits.peek('user', { principal: 'op-1' })).limits[0].remaining, 990)
await app.close()
