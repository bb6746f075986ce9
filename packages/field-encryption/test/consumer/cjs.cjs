// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const { Type } = require('@sinclair/typebox')
const Fastify = require('fastify')
const {
  Encrypted,
  exportKeyset,
  fieldEncryption,
  generateKeyset,
} = require('@parapet/field-encryption')

async function main() {
  const app = Fastify()
  await app.register(fieldEncryption, { keyset: exportKeyset(generateKeyset()) })
  const schema = Type.Object({ id: Type.String(), age: Encrypted(Type.Integer()) })
  const users = app.fieldEncryption.table('users', schema)
  const row = await users.encryptRecord({ id: '1', age: 41 })
  assert.match(row.age, /^pe1\./)
  assert.deepEqual(await users.decryptRecord(row), { id: '1', age: 41 })
  await assert.rejects(users.decryptRecord({ ...row, id: '2' }), {
    code: 'PARAPET_FIELD_ENCRYPTION_OPEN_FAILED',
  })
  await app.close()

  // What `require` returns is a module, and Fastify takes its default export.
  const other = Fastify()
  await other.register(require('@parapet/field-encryption'), {
    keyset: exportKeyset(generateKeyset()),
  })
  assert.equal(other.fieldEncryption.provider, null)
  await other.close()
}

main()
