// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import privacy, { verifyReceipt } from '@parapet/privacy'

const rows = new Map([['u-1', [{ email: 'ann@example.org' }]]])
const app = Fastify()
await app.register(privacy, {
  controller: { name: 'Acme', contact: 'privacy@example.org' },
  secret: randomBytes(32).toString('base64url'),
  keys: `1:${randomBytes(32).toString('base64url')}`,
  deliver: async () => undefined,
  sources: [
    {
      name: 'users',
      purpose: 'Accounts',
      legalBasis: 'contract',
      categories: ['user.contact.email'],
      retentionDays: null,
      storedIn: 'memory',
      fields: { email: 'anonymise-email' },
      collect: (subject) => rows.get(subject) ?? [],
      erase: async (subject, { fields }) => void rows.set(subject, [{ email: fields.email.value }]),
      verifyErased: async () => ({ remaining: 0 }),
    },
  ],
})
await app.ready()
const { id } = await app.privacy.request({ subject: 'u-1', type: 'erasure' })
let request
do {
  await new Promise((resolve) => setImmediate(resolve))
  request = await app.privacy.findRequest(id)
} while (request.state !== 'completed')
assert.match(rows.get('u-1')[0].email, /^erased-[0-9a-f]{32}@erased\.invalid$/)
assert.equal(verifyReceipt(request.receipt, [app.privacy.publicKey]).jti, id)
await app.close()
