import { contextParts, createKeysetCipher, Encrypted } from '@parapet/field-encryption'
import { Type, type TSchema } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { buildFixed, code, keyset, openFailed } from './fixtures.ts'

async function tablesOf(t: Test) {
  const { app } = await buildFixed(t)
  return (schema: TSchema, options: Parameters<typeof Encrypted>[1] = {}) =>
    app.fieldEncryption.table(
      't',
      Type.Object({ id: Type.String(), v: Encrypted(schema, options) }),
    )
}

/** A value that an earlier version has written: without its type in the context. */
async function writtenBefore(plaintext: string, schemaVersion = '1') {
  const place = { tenant: '', table: 't', column: 'v', rowId: '1' }
  const context = contextParts({ ...place, schemaVersion })
  return { id: '1', v: await createKeysetCipher(keyset).seal(plaintext, context) }
}

const Nullable = Type.Union([Type.String(), Type.Null()])

await t.test(
  'a text stays readable when its schema becomes nullable, and stays a text',
  async (t) => {
    const tableOf = await tablesOf(t)
    const [text, nullable] = [tableOf(Type.String()), tableOf(Nullable)]
    for (const v of ['abc', '12', 'null', 'true', '"quoted"', '']) {
      const row = await text.encryptRecord({ id: '1', v })
      t.strictSame(await nullable.decryptRecord(row), { id: '1', v }, v)
      const back = await nullable.encryptRecord({ id: '1', v })
      t.strictSame(await text.decryptRecord(back), { id: '1', v }, 'and back')
    }
  },
)

await t.test('a value is never read as another type', async (t) => {
  const tableOf = await tablesOf(t)
  const cases: [from: TSchema, v: unknown, to: TSchema][] = [
    [Type.String(), '12', Type.Number()],
    [Type.String(), 'abc', Type.Number()],
    [Type.String(), 'true', Type.Boolean()],
    [Type.String(), '5', Type.BigInt()],
    [Type.String(), '2020-01-01T00:00:00.000Z', Type.Date()],
    [Type.Number(), 1.5, Type.Integer()],
    [Type.BigInt(), 5n, Type.Number()],
    [Type.Date(), new Date(0), Type.String()],
    [Type.Object({ a: Type.String() }), { a: 'x' }, Type.String()],
    [Type.String(), 'AAEC', Type.Uint8Array()],
  ]
  for (const [from, v, to] of cases) {
    const row = await tableOf(from).encryptRecord({ id: '1', v })
    const name = `${String(from['type'])} as ${String(to['type'])}`
    await t.rejects(tableOf(to).decryptRecord(row), openFailed, name)
  }
  const wider: [from: TSchema, v: unknown, to: TSchema][] = [
    [Type.Integer(), 7, Type.Number()],
    [Type.String(), '12', Type.Unknown()],
    [Type.Number(), 4, Type.Integer()],
    [Type.String(), 'x', Type.Union([Type.String(), Type.Number()])],
  ]
  for (const [from, v, to] of wider) {
    const row = await tableOf(from).encryptRecord({ id: '1', v })
    t.strictSame((await tableOf(to).decryptRecord(row))['v'], v)
  }
})

await t.test('bytes come back as bytes', async (t) => {
  const table = (await tablesOf(t))(Type.Uint8Array())
  for (const v of [new Uint8Array([0, 255, 128]), Buffer.from('x'), new Uint8Array()]) {
    const row = await table.encryptRecord({ id: '1', v })
    t.strictSame((await table.decryptRecord(row)).v, new Uint8Array(v))
  }
  const part = new Uint8Array([9, 1, 2, 9]).subarray(1, 3)
  const row = await table.encryptRecord({ id: '1', v: part })
  t.strictSame((await table.decryptRecord(row)).v, new Uint8Array([1, 2]), 'a view of other bytes')
  for (const old of ['{"0":1,"1":2}', '{"type":"Buffer","data":[1,2]}']) {
    const { v } = await table.decryptRecord(await writtenBefore(old))
    t.strictSame(v, new Uint8Array([1, 2]), 'bytes that an earlier version wrote as JSON')
  }
})

await t.test('values of earlier versions are read as they were written', async (t) => {
  const tableOf = await tablesOf(t)
  const cases: [stored: string, schema: TSchema, value: unknown][] = [
    ['abc', Type.String(), 'abc'],
    ['"abc"', Nullable, 'abc'],
    ['abc', Nullable, 'abc'],
    ['12', Nullable, '12'],
    ['12', Type.Number(), 12],
    ['-0', Type.Number(), -0],
    ['"a"', Type.Literal('a'), 'a'],
    ['{"a":1}', Type.Object({ a: Type.Number() }), { a: 1 }],
    ['true', Type.Union([Type.Boolean(), Type.Null()]), true],
  ]
  for (const [stored, schema, v] of cases) {
    const table = tableOf(schema)
    const row = await writtenBefore(stored)
    t.strictSame(await table.decryptRecord(row), { id: '1', v }, stored)
  }
  await t.rejects(tableOf(Type.Number()).decryptRecord(await writtenBefore('abc')), openFailed)
  await t.rejects(tableOf(Type.Boolean()).decryptRecord(await writtenBefore('1')), openFailed)
  const padded = tableOf(Type.String(), { padBytes: 16 })
  const row = await writtenBefore('abc\u0000', '1')
  t.equal((await padded.decryptRecord(row)).v, 'abc\u0000')
})

await t.test('a rewritten row has its type in its context', async (t) => {
  const table = (await tablesOf(t))(Nullable)
  let row: Record<string, unknown> = await writtenBefore('"abc"')
  const source = {
    read: async (cursor: string | null) => (cursor === null ? [row] : []),
    cursorOf: () => '1',
    write: async (_: object, after: object) => {
      row = after as Record<string, unknown>
      return true
    },
  }
  t.match(await table.status({ source }), { staleRows: 1 })
  t.match(await table.reencrypt({ source }), { rewritten: 1, failed: [] })
  t.match(await table.status({ source }), { staleRows: 0 })
  const context = contextParts({
    tenant: '',
    table: 't',
    column: 'v',
    rowId: '1',
    schemaVersion: '1;text',
  })
  t.equal((await createKeysetCipher(keyset).open(String(row['v']), context)).toString(), 'abc')
})

await t.test('a schema whose values cannot be kept stops the boot', (t) => {
  const schema = code('INVALID_SCHEMA')
  const refused: [string, TSchema][] = [
    ['a function', Type.Function([], Type.String())],
    ['a symbol', Type.Symbol()],
    ['undefined', Type.Undefined()],
    ['null alone', Type.Null()],
    ['void', Type.Void()],
    ['a promise', Type.Promise(Type.String())],
    ['a transform', Type.Transform(Type.String()).Decode(Number).Encode(String)],
    ['a date in an object', Type.Object({ at: Type.Date() })],
    ['bytes in a list', Type.Array(Type.Uint8Array())],
    ['a bigint in a member called default', Type.Object({ default: Type.BigInt() })],
    ['a text or a date', Type.Union([Type.String(), Type.Date()])],
    [
      'a transform in a list',
      Type.Array(Type.Transform(Type.String()).Decode(Number).Encode(String)),
    ],
  ]
  for (const [name, each] of refused) t.throws(() => Encrypted(each), schema, name)
  const accepted = [Type.Unknown(), Type.Any(), Type.Tuple([Type.String()]), Type.Enum({ A: 'a' })]
  for (const each of accepted) t.doesNotThrow(() => Encrypted(each))
  t.end()
})

await t.test('JSON that would not come back as it is is refused', async (t) => {
  const table = (await tablesOf(t))(Type.Unknown())
  const odd = [
    new Date(0),
    1n,
    new Map(),
    new Uint8Array(2),
    { a: [Number.NaN] },
    { a: { b: () => 1 } },
  ]
  for (const v of odd) {
    await t.rejects(table.encryptRecord({ id: '1', v }), code('INVALID_VALUE', 400))
  }
  const fine = { a: undefined, b: [null, 'x', 1.5, { c: true }] }
  const row = await table.encryptRecord({ id: '1', v: fine })
  t.strictSame((await table.decryptRecord(row)).v, { b: [null, 'x', 1.5, { c: true }] })
})
