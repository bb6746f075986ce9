import { blind, compound, createLocalFileStore, Encrypted, mask } from '@parapet/field-encryption'
import { withPrincipal, type ReadScope } from '@parapet/field-encryption'
import type { SqlClient } from '@parapet/kit'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { buildManaged, code, folderOf } from './fixtures.ts'

const User = Type.Object({
  id: Type.String(),
  email: Encrypted(Type.String({ maxLength: 20 }), {
    reveal: ['admin'],
    mask: { default: mask.email() },
    index: { email_idx: blind() },
  }),
  address: Type.Optional(Type.Object({ city: Type.String(), street: Encrypted(Type.String()) })),
  phones: Type.Optional(Type.Array(Type.Object({ no: Encrypted(Type.String()) }))),
  open: Type.Optional(
    Type.Object({ note: Encrypted(Type.String()) }, { additionalProperties: true }),
  ),
})
const user = { id: '1', email: 'jane@example.com' }
const masked = { id: '1', email: 'j****@example.com' }
const argument = code('INVALID_ARGUMENT')

await t.test('absent roles are those of an anonymous reader, not of the application', async (t) => {
  const { service } = await buildManaged(t)
  const users = service.table('users', User)
  const row = await users.encryptRecord(user)
  const anonymous = { principal: null as null | { readonly roles: string[] } }
  for (const roles of [anonymous.principal?.roles, null, []]) {
    const scope: ReadScope = { roles }
    t.strictSame(await users.decryptRecord(row, scope), masked)
    t.strictSame(await users.decryptMany([row], scope), [masked])
  }
  t.strictSame(await users.decryptRecord(row, { roles: ['admin'] }), user)
  for (const scope of [undefined, {}, { tenant: '' }]) {
    t.strictSame(await users.decryptRecord(row, scope), user, 'the application')
  }
  for (const roles of ['admin', new Set(['admin']), 1, [1]]) {
    await t.rejects(users.decryptRecord(row, { roles } as never), argument)
  }
})

await t.test('a misspelled or invalid option of a call throws', async (t) => {
  const { service } = await buildManaged(t)
  const users = service.table('users', User)
  const row = await users.encryptRecord(user)
  const files = service.files(createLocalFileStore(folderOf(t)))
  const source = { read: async () => [], cursorOf: () => '', write: async () => true }
  const target = { subject: 's', reason: 'r' }
  const calls: Record<string, (options: never) => unknown> = {
    encryptRecord: (options) => users.encryptRecord(user, options),
    decryptRecord: (options) => users.decryptRecord(row, options),
    decryptValue: (options) => users.decryptValue(row, 'email', options),
    where: (options) => users.where('email', 'x', options),
    whereAll: (options) => users.whereAll({ email: 'x' }, options),
    reencrypt: (options) => users.reencrypt({ source, ...(options as object) }),
    status: (options) => users.status({ source, ...(options as object) }),
    rotate: (options) => service.rotate(options),
    retire: (options) => service.retire(1, options),
    keyStatus: (options) => service.keyStatus(options),
    forget: (options) => service.forget({ ...target, ...(options as object) }),
    hold: (options) => service.hold({ ...target, ...(options as object) }),
    release: (options) => service.release({ subject: 's', ...(options as object) }),
    'files.get': (options) => files.get('a', options),
    'files.rewrap': (options) => files.rewrap('a', options),
    migration: (options) => users.sql.migration(options),
    withPrincipal: (options) => withPrincipal({} as SqlClient, null, async () => {}, options),
    blind: (options) => blind(options),
    compound: (options) => compound(['a', 'b'], options),
    cipher: (options) => service.cipher((options as { tenant: string }).tenant),
  }
  const noTenant = new Set(['migration', 'withPrincipal', 'blind', 'compound'])
  for (const [name, call] of Object.entries(calls)) {
    const attempt = async (options: object) => call(options as never)
    if (name !== 'cipher') await t.rejects(attempt({ tennant: 'acme' }), argument, name)
    if (noTenant.has(name)) continue
    for (const tenant of [null, 1, 'a\0b', '\ud800', ['x']]) {
      await t.rejects(attempt({ tenant }), argument, `${name} ${JSON.stringify(tenant)}`)
    }
  }
  const wrong = [
    { first: 3 },
    { firstParameter: '1; drop' },
    { firstParameter: 0 },
    { dialect: 'mssql' },
    { index: 1 },
  ]
  for (const options of wrong) {
    await t.rejects(users.where('email', 'x', options as never), argument, JSON.stringify(options))
  }
  await t.rejects(users.decryptRecord(row, { forgotten: 'hide' } as never), argument)
  const id = { id: 'a\0', roles: [] }
  await t.rejects(
    withPrincipal({} as SqlClient, id, async () => {}),
    argument,
  )
  for (const options of [{ tenant: 'x' }, { subject: 'x' }, { bind: 'x' }, { id: 'x' }]) {
    t.throws(() => service.table('users', User, options), argument, 'it is not in the schema')
  }
})

await t.test('a member that a nested schema does not declare is not stored', async (t) => {
  const { service } = await buildManaged(t)
  const users = service.table('users', User)
  const wrong = [
    { address: { Street: 'Secret Rd 1' } },
    { address: { city: 'x', street: 'y', stret: 'z' } },
    { phones: [{ no: '1' }, { No: '2' }] },
  ]
  for (const members of wrong) {
    const record = { id: '1', ...members } as never
    const error = await t.rejects(users.encryptRecord(record), argument, JSON.stringify(members))
    t.notMatch(String(error), /Secret/)
  }
  const open = { id: '1', open: { note: 'x', more: 1 } }
  t.match(await users.encryptRecord(open), { open: { note: /^pe1\./, more: 1 } })
})

await t.test('a text that the column cannot hold is an invalid value', async (t) => {
  const { service } = await buildManaged(t)
  const users = service.table('users', User)
  await t.resolves(users.encryptRecord({ id: '1', email: '😀'.repeat(20) }))
  const long = users.encryptRecord({ id: '1', email: '😀'.repeat(21) })
  await t.rejects(long, code('INVALID_VALUE', 400))
})
