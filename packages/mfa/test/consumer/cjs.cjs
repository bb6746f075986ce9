// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { mfa, PARAPET_MFA_LOGIN_REQUIRED } = require('@parapet/mfa')

const keys = `1:${Buffer.alloc(32, 7).toString('base64url')}`

async function main() {
  const app = Fastify()
  await app.register(mfa, { issuer: 'Acme', keys })
  app.get('/reports', { config: { mfa: 'required' } }, async () => 'never')
  const reply = await app.inject('/reports')
  assert.equal(reply.statusCode, 401)
  assert.equal(reply.json().code, new PARAPET_MFA_LOGIN_REQUIRED().code)
  await app.close()

  // `require` returns the module; Fastify uses its default export.
  const other = Fastify()
  await other.register(require('@parapet/mfa'), { issuer: 'Acme', keys })
  const { qr, backupCodes } = await other.mfa.totp.begin({ id: 'alice', name: 'alice' })
  assert.match(qr.dataUrl, /^data:image\/png;base64,/)
  assert.equal(backupCodes.length, 8)
  await other.close()
}

main()
