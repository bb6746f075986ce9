import {
  addPrimaryKey,
  exportKeyset,
  fieldEncryption,
  generateKeyset,
  type FieldEncryptionOptions,
} from '@parapet/field-encryption'
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

await t.test('a keyset that a function returns can be replaced while it is used', async (t) => {
  const first = generateKeyset()
  const second = addPrimaryKey(first)
  let json = exportKeyset(first)
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fieldEncryption, { keyset: () => json })
  const cipher = app.fieldEncryption.cipher()
  const old = await cipher.seal('old', ['c'])
  json = exportKeyset(second)
  const young = await cipher.seal('young', ['c'])
  const opened = await Promise.all([old, young].map((sealed) => cipher.open(sealed, ['c'])))
  t.same(opened.map(String), ['old', 'young'])
  json = exportKeyset(first)
  await t.rejects(cipher.open(young, ['c']), { code: 'PARAPET_KIT_CIPHER_OPEN_FAILED' })
  json = 'no keyset'
  await t.rejects(cipher.seal('x', ['c']), code('INVALID_KEYSET'))
  await t.rejects(
    async () => {
      await Fastify().register(fieldEncryption, { keyset: 5 as never })
    },
    { ...code('INVALID_OPTION'), message: /must be a keyset in Tink's JSON, or a function/ },
  )
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
