// Runs in an ESM app that has only installed the packed package.
import assert from 'node:assert/strict'
import securityHeaders, { securityHeaders as named } from '@parapet/security-headers'
import Fastify from 'fastify'

assert.equal(securityHeaders, named)
const app = Fastify()
await app.register(securityHeaders, {
  reports: {},
  cors: { origins: ['https://app.example'], credentials: true },
})
const reported = []
app.securityEvents.on('security_headers.violation_reported', ({ details }) =>
  reported.push(details.directive),
)
app.get('/', async () => 'data')
const reply = await app.inject({ url: '/', headers: { origin: 'https://app.example' } })
assert.equal(reply.statusCode, 200)
assert.equal(reply.headers['access-control-allow-origin'], 'https://app.example')
const report = await app.inject({
  method: 'POST',
  url: '/_reports',
  headers: { 'content-type': 'application/csp-report' },
  payload: JSON.stringify({ 'csp-report': { 'effective-directive': 'script-src' } }),
})
assert.equal(report.statusCode, 204)
assert.deepEqual(reported, ['script-src'])
await app.close()

await assert.rejects(
  async () => {
    await Fastify().register(securityHeaders, { cors: { origins: ['*'], credentials: true } })
  },
  { code: 'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY' },
)
