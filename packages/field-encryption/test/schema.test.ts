import { blind, Encrypted, mask } from '@parapet/field-encryption'
import { Type, type TObject } from '@sinclair/typebox'
import t from 'tap'
import { buildFixed, code, User } from './fixtures.ts'

await t.test('masks hide a text as documented and leave their own output unchanged', async (t) => {
  const cases: [ReturnType<typeof mask.email>, string, string][] = [
    [mask.email(), 'jane@example.com', 'j****@example.com'],
    [mask.email(), '\u{1f600}x@example.com', '\u{1f600}****@example.com'],
    [mask.email(), 'no address', '****'],
    [mask.email(), '@example.com', '****'],
    [mask.email(), 'a@b.c', '****@b.c'],
    [mask.email(), 'my password is foo@bar baz', '****'],
    [mask.email(), 'jane <jane@x.y>, secret@z.org', '****'],
    [mask.email(), 'a@b@c', '****'],
    [mask.last(4), '4242424242424242', '****4242'],
    [mask.last(4), '1234567', '****'],
    [mask.first(4), 'DE89370400440532013000', 'DE89****'],
    [mask.first(2), 'abc', '****'],
    [mask.redact(), 'x', '[redacted]'],
    [mask.redact('-'), 'x', '-'],
  ]
  for (const [each, text, shown] of cases) {
    t.equal(each(text), shown)
    t.equal(each(shown), shown, 'its own output is unchanged')
  }
  for (const count of [0, 65, 1.5]) t.throws(() => mask.last(count), code('INVALID_ARGUMENT'))
})

await t.test('an unsupported schema is refused when it is declared', async (t) => {
  const { app } = await buildFixed(t)
  const E = Encrypted(Type.String())
  const schema = code('INVALID_SCHEMA')
  const broken: TObject[] = [
    Type.Object({ id: Type.String() }),
    Type.Object({ id: Type.String(), x: Type.Union([E, Type.Integer()]) }),
    Type.Object({ id: Type.String(), x: Type.Tuple([E]) }),
    Type.Object({ id: Type.String(), x: Type.Record(Type.String(), E) }),
    Type.Object({ id: Type.String(), x: E, y: Type.Ref('Other') }),
    Type.Object({ id: Type.String(), 'a.b': E }),
    Type.Object({ id: Type.String(), '7': E }),
  ]
  for (const [index, each] of broken.entries()) {
    t.throws(() => app.fieldEncryption.table('x', each), schema, `case ${index}`)
  }
  t.throws(() => Encrypted(Type.Integer(), { mask: { default: mask.redact() } }), schema)
  t.throws(() => Encrypted(Type.String(), { reveal: 'never', mask: { a: mask.redact() } }), schema)
  t.throws(() => Encrypted(Type.String(), { padBytes: 1 }), schema)
  t.throws(() => Encrypted(Type.String(), { index: { 'Email Idx': blind() } }), schema)
  t.throws(() => Encrypted(Type.String(), { maks: {} } as never), schema)
  const copied = { ...Type.String(), $comment: 'parapet-encrypted:999999' }
  const alien = Type.Object({ id: Type.String(), x: copied })
  t.throws(
    () => app.fieldEncryption.table('x', alien),
    schema,
    'a schema that was marked in another process',
  )
  const argument = code('INVALID_ARGUMENT')
  const note = Type.Object({ id: Encrypted(Type.String()), x: Type.String() })
  t.throws(() => app.fieldEncryption.table('x', note), argument, 'an id cannot be encrypted')
  t.throws(
    () => app.fieldEncryption.table('x', User, { subject: 'id' }),
    argument,
    'subjects need provider and keyStore',
  )
})
