// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import mfa, { mfa as named } from '@parapet/mfa'
import Fastify from 'fastify'

assert.equal(mfa, named)
const app = Fastify()
await app.register(mfa, {
  issuer: 'Acme',
  keys: `1:${Buffer.alloc(32, 7).toString('base64url')}`,
  passkeys: { rpId: 'example.org', origins: ['https://example.org'] },
  principal: () => ({ id: 'alice', roles: [], sessionId: 's1' }),
})
const challenged = []
app.securityEvents.on('mfa.challenged', ({ details }) => challenged.push(details.reason))
app.get('/reports', { config: { mfa: 'required' } }, async () => 'never')
assert.equal((await app.inject('/reports')).json().code, 'PARAPET_MFA_ENROLMENT_REQUIRED')
assert.deepEqual(challenged, ['unenrolled'])
const begun = await app.inject({ method: 'POST', url: '/mfa/passkeys/options' })
assert.equal(begun.statusCode, 200)
assert.equal(begun.json().rp.id, 'example.org')
await app.close()
