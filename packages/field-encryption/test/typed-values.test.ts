import { createKeysetCipher, Encrypted, fieldEncryption } from '@parapet/field-encryption'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { code, openFailed, readSpec } from './fixtures.ts'

/** A vector of docs/spec/field-context.md. */
interface TypedValue {
  readonly name: string
  readonly schema: keyof typeof schemas
  readonly parts: readonly string[]
  readonly plaintextHex: string
  readonly sealed: string
  readonly value?: unknown
  readonly refused?: true
}

const schemas = {
  String: Type.String(),
  Integer: Type.Integer(),
  Number: Type.Number(),
  Boolean: Type.Boolean(),
  BigInt: Type.BigInt(),
  Date: Type.Date(),
  Uint8Array: Type.Uint8Array(),
  Object: Type.Object({ a: Type.Array(Type.Union([Type.Number(), Type.Null()])) }),
  Union: Type.Union([Type.String(), Type.Number()]),
}

/** The value of a vector, which JSON cannot hold. */
function valueOf({ schema, value }: TypedValue): unknown {
  if (value === '-0') return -0
  if (schema === 'BigInt') return BigInt(value as string)
  if (schema === 'Date') return new Date(value as string)
  return schema === 'Uint8Array' ? new Uint8Array(value as number[]) : value
}

async function build(test: Test) {
  const { keyset, values } = readSpec<{ keyset: string; values: TypedValue[] }>('field-context')
  const app = Fastify()
  test.after(() => app.close())
  await app.register(fieldEncryption, { keyset })
  const tableOf = (schema: TypedValue['schema'], padBytes = 0) => {
    const options = padBytes === 0 ? {} : { padBytes }
    const Row = Type.Object({ id: Type.String(), value: Encrypted(schemas[schema], options) })
    return app.fieldEncryption.table('typed', Row)
  }
  return { values, tableOf, cipher: createKeysetCipher(keyset) }
}

const scope = { tenant: 'acme' }

await t.test('the typed values of docs/spec/field-context.md are read as stated', async (t) => {
  const { values, tableOf, cipher } = await build(t)
  for (const vector of values) {
    const { name, schema, parts, plaintextHex, sealed, refused } = vector
    t.equal((await cipher.open(sealed, parts)).toString('hex'), plaintextHex, name)
    const row = { id: parts[4]!.toLowerCase(), value: sealed }
    const opened = tableOf(schema).decryptRecord(row, scope)
    if (refused === true) await t.rejects(opened, openFailed, name)
    else t.strictSame((await opened).value, valueOf(vector), name)
  }
})

await t.test('values are written as in the vectors of today', async (t) => {
  const { values, tableOf, cipher } = await build(t)
  const today = values.filter(
    ({ parts, refused, name }) =>
      parts[5] !== '1' && refused === undefined && !name.includes('that is read'),
  )
  for (const vector of today) {
    const { name, schema, parts, plaintextHex } = vector
    const padBytes = parts[5]!.endsWith(';pad') ? 16 : 0
    const record = { id: parts[4]!, value: valueOf(vector) }
    const row = await tableOf(schema, padBytes).encryptRecord(record as never, scope)
    const written = [...parts.slice(0, 4), parts[4]!.toLowerCase(), parts[5]!]
    const plaintext = await cipher.open(row['value'] as string, written)
    t.equal(plaintext.toString('hex'), plaintextHex, name)
  }
})

await t.test('a UUID is bound in lower case, whatever a client has sent', async (t) => {
  const { tableOf } = await build(t)
  const notes = tableOf('String')
  const id = 'ABCDEF00-0000-4000-8000-000000000001'
  const row = await notes.encryptRecord({ id, value: 'x' }, scope)
  t.equal(row['id'], id, 'the record itself is unchanged')
  for (const each of [id, id.toLowerCase()]) {
    t.equal((await notes.decryptRecord({ ...row, id: each }, scope)).value, 'x')
  }
  const other = { ...row, id: id.replace('1', '2') }
  await t.rejects(notes.decryptRecord(other, scope), openFailed)
  for (const bad of ['a\0b', 'a\0']) {
    const nul = notes.encryptRecord({ id: bad, value: 'x' }, scope)
    await t.rejects(nul, code('INVALID_VALUE', 400), 'PostgreSQL stores no NUL')
  }
})
