// Runs in a bare ESM app that has installed the packed package, without its optional libraries.
import assert from 'node:assert/strict'
import inputGuard, { encodeFor, inputGuard as named, Phone, SafeUrl } from '@parapet/input-guard'
import Fastify from 'fastify'

assert.equal(inputGuard, named)
assert.equal(encodeFor.html('<'), '&lt;')
const app = Fastify()
await app.register(inputGuard, { audit: 'off' })
const rejected = []
app.securityEvents.on('input_guard.rejected', ({ details }) => rejected.push(details.code))
app.get(
  '/',
  { schema: { querystring: { type: 'object', properties: { url: SafeUrl() } } } },
  async ({ query }) => query,
)
assert.deepEqual((await app.inject('/?url=https://a.com')).json(), { url: 'https://a.com/' })
assert.equal((await app.inject('/?url=javascript:x')).statusCode, 400)
assert.deepEqual(rejected, ['url_scheme'])
await app.close()

const incomplete = Fastify()
await incomplete.register(inputGuard, { audit: 'off' })
incomplete.post('/', { schema: { body: Phone() } }, async () => 'never')
await assert.rejects(incomplete.ready(), { code: 'PARAPET_INPUT_GUARD_MISSING_LIBRARY' })
