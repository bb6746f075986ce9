// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import fieldEncryption, {
  createLocalProvider,
  createMemoryKeyStore,
  Encrypted,
  exportKeyset,
  fieldEncryption as named,
  generateKeyset,
  mask,
} from '@parapet/field-encryption'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'

assert.equal(fieldEncryption, named)
const app = Fastify()
await app.register(fieldEncryption, {
  provider: createLocalProvider({ keyset: exportKeyset(generateKeyset()) }),
  keyStore: createMemoryKeyStore(),
  principal: () => ({ id: '1', roles: ['support'] }),
})
const User = Type.Object({
  id: Type.String(),
  email: Encrypted(Type.String(), { mask: { default: mask.email() } }),
})
const users = app.fieldEncryption.table('users', User)
app.get('/', { schema: { response: { 200: User } } }, async () =>
  users.decryptRecord(await users.encryptRecord({ id: '1', email: 'jane@example.com' })),
)
const reply = await app.inject('/')
assert.deepEqual(reply.json(), { id: '1', email: 'j****@example.com' })
await app.close()
