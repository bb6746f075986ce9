/** Ids, texts and accounts: every spelling of an id is one id, and every fault is a 400 or a 409. */
import { exportKeyset, generateKeyset } from '@parapet/field-encryption'
import { uuidV7 } from '@parapet/kit'
import t from 'tap'
import { signIn } from './support/sign-in.ts'
import {
  artist,
  createTestApp,
  denied,
  invalid,
  openDatabase,
  password,
  type Headers,
} from './support/test-app.ts'

const database = await openDatabase(t)
const lastAdmin = { status: 409, code: 'PARAPET_REFERENCE_LAST_ADMIN' }

await t.test('a change under an id in capitals is readable by everybody', async (t) => {
  const env = { FIELD_KEYSET: exportKeyset(generateKeyset()) }
  const { app, ask, log } = await createTestApp(t, database, env)
  const admin = await signIn(app, 'admin')
  const { body } = await ask(admin, 'POST', '/artists', { ...artist, phone: '+493012345678' })
  const upper = `/artists/${String(body['id']).toUpperCase()}`
  const changed = await ask(admin, 'PATCH', upper, { phone: '+493087654321' })
  t.match(changed, { status: 200, body: { id: body['id'], phone: '+493087654321' } })
  const list = await ask({}, 'GET', '/artists')
  t.match(list, { status: 200, body: { items: [{ phone: '****4321' }] } })
  t.notMatch(log(), 'cannot be decrypted')
})

await t.test('a row that cannot be decrypted hides its number and is logged once', async (t) => {
  const env = { FIELD_KEYSET: exportKeyset(generateKeyset()) }
  const { app, ask, log } = await createTestApp(t, database, env)
  const admin = await signIn(app, 'admin')
  const phones = ['+493012345671', '+493012345672']
  const [good, bad] = [
    (await ask(admin, 'POST', '/artists', { ...artist, phone: phones[0]! })).body,
    (await ask(admin, 'POST', '/artists', { ...artist, phone: phones[1]! })).body,
  ]
  const copy = 'UPDATE artists SET phone = (SELECT phone FROM artists WHERE id = $1) WHERE id = $2'
  await database.sql.query(copy, [good['id'], bad['id']])
  const list = await ask(admin, 'GET', '/artists')
  t.equal(list.status, 200)
  const items = list.body['items'] as readonly object[]
  t.match(items[0], { id: good['id'], phone: phones[0] })
  t.notOk('phone' in items[1]!, 'the damaged number is left out')
  t.equal(log().split('cannot be decrypted').length - 1, 1)
  t.match(log(), `"artistId":"${String(bad['id'])}"`)
})

await t.test('other spellings of an id are refused', async (t) => {
  const { app, refuse, register } = await createTestApp(t, database)
  const { id } = await register('admin')
  const admin = await signIn(app, 'admin', id)
  for (const other of [`urn:uuid:${id}`, `{${id}}`, id.replaceAll('-', ''), `${id}%00`]) {
    await refuse(t, invalid, admin, 'PUT', `/users/${other}/roles`, { roles: ['viewer'] })
    await refuse(t, invalid, admin, 'GET', `/users/${other}`)
    await refuse(t, invalid, admin, 'PATCH', `/artists/${other}`, { name: 'B' })
  }
  await refuse(t, denied, admin, 'PUT', `/users/${id.toUpperCase()}/roles`, { roles: ['viewer'] })
  const piece = { authorId: `urn:uuid:${id}`, title: 'T', body: '' }
  await refuse(t, invalid, admin, 'POST', '/content', piece)
})

await t.test('the character NUL is refused in every text, also by routes of plugins', async (t) => {
  const { app, refuse, register } = await createTestApp(t, database)
  const { id } = await register('admin')
  const admin = await signIn(app, 'admin', id)
  const nul = 'a\u0000b'
  await refuse(t, invalid, {}, 'POST', '/auth/login', { login: nul, password })
  await refuse(t, invalid, {}, 'POST', '/auth/login', { login: 'a@example.com', password: nul })
  await refuse(t, invalid, {}, 'POST', '/users', { email: 'a@example.com', displayName: nul })
  await refuse(t, invalid, admin, 'POST', '/artists', { ...artist, bio: nul })
  await refuse(t, invalid, admin, 'GET', '/audit/events?action=a%00b')
})

await t.test('two administrators cannot remove each other at once', async (t) => {
  const { app, ask, refuse, register } = await createTestApp(t, database)
  const [ann, bob] = [await register('admin'), await register('admin')]
  const chief = await signIn(app, 'admin')
  for (const { id } of [ann, bob])
    await ask(chief, 'PUT', `/users/${id}/roles`, { roles: ['admin'] })
  // The change of roles has ended their sessions.
  const headers: Headers[] = [
    await signIn(app, 'admin', ann.id),
    await signIn(app, 'admin', bob.id),
  ]
  const both = await Promise.all([
    ask(headers[0]!, 'DELETE', `/users/${bob.id}`),
    ask(headers[1]!, 'PUT', `/users/${ann.id}/roles`, { roles: ['viewer'] }),
  ])
  const statuses = both.map(({ status }) => status)
  t.equal(statuses.filter((status) => status < 300).length, 1, `one succeeded: ${statuses.join()}`)
  const left = await database.sql.query<{ id: string }>(
    `SELECT id::text AS id FROM users WHERE 'admin' = ANY (roles)`,
  )
  t.equal(left.rows.length, 1)
  const url = `/users/${left.rows[0]!.id}`
  await refuse(t, lastAdmin, chief, 'DELETE', url)
  await refuse(t, lastAdmin, chief, 'PUT', `${url}/roles`, { roles: ['viewer'] })
})

await t.test('an account is registered with its password in one statement', async (t) => {
  const texts: string[] = []
  const query: typeof database.sql.query = (text, values) => {
    if (/\busers\b/.test(text)) texts.push(text.replace(/\s+/g, ' '))
    return database.sql.query(text, values)
  }
  const { ask, logIn } = await createTestApp(t, database, {}, { sql: { ...database.sql, query } })
  texts.length = 0
  const email = `${uuidV7()}@Example.com`
  t.equal((await ask({}, 'POST', '/users', { email, displayName: 'A', password })).status, 201)
  t.match(texts, [/^INSERT INTO users \(.*password_hash\)/])
  t.equal(texts.length, 1)
  t.equal((await logIn(email.toUpperCase(), password)).status, 200)
  t.match(texts[1], 'lower($1::text COLLATE "C")')
})
