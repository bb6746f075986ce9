import { fieldEncryption, type FieldEncryptionOptions } from '@parapet/field-encryption'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { buildFixed, code, keyset } from './fixtures.ts'

await t.test('an unknown, missing or out-of-range option stops the boot', async (t) => {
  const refused: readonly [object, RegExp][] = [
    [{}, /either "keyset", or "provider" and "keyStore" must be given, got none/],
    [{ keysets: keyset }, /"keysets" is unknown, did you mean "keyset"\?/],
    [{ keyset, cache: { maxAge: 1000 } }, /"cache\.maxAge" is unknown, did you mean "maxAgeMs"\?/],
    [{ keyset, deadlineMs: 1 }, /"deadlineMs" must be .*from 10 to 60000/],
    [{ keyset, keyStore: {} }, /"keyStore" must .*\bget\b.*\binsert\b/],
    [
      { provider: { wrap() {}, unwrap() {}, describe() {}, health() {} } },
      /"provider" and "keyStore" must be given, got "provider"/,
    ],
  ]
  for (const [options, message] of refused) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(fieldEncryption, options as FieldEncryptionOptions)
      },
      { ...code('INVALID_OPTION'), message },
    )
  }
  const app: FastifyInstance = Fastify()
  t.after(() => app.close())
  await t.rejects(async () => {
    await app.register(fieldEncryption, { keyset: '{"secret":"x"}' })
  }, code('INVALID_KEYSET'))
})

await t.test('with a fixed keyset rotate, forget and keyStatus are refused', async (t) => {
  const { app } = await buildFixed(t)
  const { fieldEncryption: service } = app
  const argument = code('INVALID_ARGUMENT')
  await t.rejects(service.rotate(), argument)
  await t.rejects(service.forget({ subject: 'x', reason: 'x' }), argument)
  await t.rejects(service.keyStatus(), argument)
  t.equal(service.provider, null)
  await t.resolves(service.health())
})
