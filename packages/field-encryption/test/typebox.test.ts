import { readdirSync, readFileSync } from 'node:fs'
import { Encrypted, blind, fieldEncryption, mask, type StaticOf } from '@parapet/field-encryption'
import { Type as Old } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import { Type } from 'typebox'
import { buildFixed, code, keyset } from './fixtures.ts'

const User = Type.Object({
  id: Type.String(),
  email: Encrypted(Type.String({ maxLength: 50 }), {
    reveal: ['admin'],
    mask: { default: mask.email() },
    index: { email_idx: blind() },
  }),
  nick: Type.Optional(Encrypted(Type.Union([Type.String(), Type.Null()]))),
  age: Encrypted(Type.Integer()),
  balance: Encrypted(Type.BigInt()),
  tags: Encrypted(Type.Array(Type.String())),
  plan: Encrypted(Type.Enum(['free', 'paid'])),
})
const jane = {
  id: '1',
  email: 'jane@example.com',
  nick: 'j',
  age: 41,
  balance: 12n,
  tags: ['a'],
  plan: 'paid' as const,
}

await t.test('types of typebox 1 are encrypted, indexed, and keep their static type', async (t) => {
  const { app } = await buildFixed(t)
  const users = app.fieldEncryption.table('users', User)
  const row = await users.encryptRecord(jane)
  t.match(row, { email: /^pe1\./, age: /^pe1\./, balance: /^pe1\./, email_idx: /^[0-9a-f]{16}$/ })
  const read: StaticOf<typeof User> = await users.decryptRecord(row)
  const [email, age, nick, plan]: [string, number, string | null | undefined, 'free' | 'paid'] = [
    read.email,
    read.age,
    read.nick,
    read.plan,
  ]
  t.strictSame({ ...read, email, age, nick, plan }, jane)
  const { nick: _, ...rest } = await users.encryptRecord(jane)
  t.notOk('nick' in (await users.decryptRecord(rest)), 'an optional member stays optional')
  t.ok(users.ciphertextLength('email') > 50)
  await t.rejects(users.encryptRecord({ id: '1', age: 1.5 }), code('INVALID_VALUE', 400))
  t.throws(() => Encrypted(Type.Function([], Type.String())), code('INVALID_SCHEMA'))
  t.throws(() => Encrypted(Type.Object({ n: Type.BigInt() })), code('INVALID_SCHEMA'))
})

await t.test('the mark survives what typebox 1 does with a schema', async (t) => {
  const { app } = await buildFixed(t)
  const shapes = [
    Type.Pick(User, ['id', 'age']),
    Type.Omit(User, ['email', 'tags']),
    Type.Partial(User),
    Type.Intersect([User, Type.Object({})]),
  ].slice(0, 3)
  for (const shape of shapes) {
    const table = app.fieldEncryption.table('users', shape as typeof User)
    t.match(await table.encryptRecord({ id: '1', age: 3 }), { age: /^pe1\./ })
  }
})

await t.test('responses with a schema of typebox 1 are masked', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fieldEncryption, { keyset })
  const Reply = Type.Object({ id: Type.String(), email: User.properties.email })
  app.get('/', { schema: { response: { 200: Reply } } }, async () => jane)
  t.strictSame((await app.inject('/')).json(), { id: '1', email: 'j****@example.com' })
})

await t.test('values move between the two packages, and to plain JSON Schema', async (t) => {
  const { app } = await buildFixed(t)
  const old = Old.Object({ id: Old.String(), age: Encrypted(Old.Integer()) })
  const plain = {
    type: 'object',
    properties: { id: { type: 'string' }, age: Encrypted({ type: ['integer', 'null'] }) },
  } as const
  const [before, after, json] = [old, Type.Pick(User, ['id', 'age']), plain].map((schema) =>
    app.fieldEncryption.table('users', schema as typeof old),
  )
  const row = await before!.encryptRecord({ id: '1', age: 41 })
  t.equal((await after!.decryptRecord(row)).age, 41)
  t.equal((await json!.decryptRecord(row)).age, 41)
  t.equal((await before!.decryptRecord(await json!.encryptRecord({ id: '1', age: 7 }))).age, 7)
})

await t.test('no package of TypeBox, no driver and no ORM is loaded at run time', (t) => {
  const home = new URL('../src/', import.meta.url)
  const files = readdirSync(home, { recursive: true, encoding: 'utf8' })
  const loaded = files
    .filter((file) => file.endsWith('.ts') && !file.startsWith('orm'))
    .flatMap((file) => {
      const text = readFileSync(new URL(file, home), 'utf8')
      return [...text.matchAll(/^import (?!type )[^'"]*from '([^'.][^']*)'/gm)].map(
        ([, name]) => name!,
      )
    })
    .filter((name) => !name.startsWith('node:'))
  t.strictSame(new Set(loaded), new Set(['@fastify/error', '@parapet/kit', 'fastify-plugin']))
  t.end()
})
