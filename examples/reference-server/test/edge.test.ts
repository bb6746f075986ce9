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
  noteStatements,
  openDatabase,
  password,
} from './support/test-app.ts'

const database = await openDatabase(t)
const nulInUrl = { status: 400, code: 'PARAPET_INPUT_GUARD_QUERY_REFUSED' }
const nulInBody = { status: 400, code: 'PARAPET_INPUT_GUARD_BODY_REFUSED' }

await t.test('a change under an id in capitals is readable by everybody', async (t) => {
  const env = { FIELD_KEYSET: exportKeyset(generateKeyset()) }
  const { app, ask, log } = await createTestApp(t, database, env)
  const admin = await signIn(app, 'admin')
  const { body } = await ask(admin, 'POST', '/api/v1/artists', {
    ...artist,
    phone: '+493012345678',
  })
  const upper = `/api/v1/artists/${String(body['id']).toUpperCase()}`
  const changed = await ask(admin, 'PATCH', upper, { phone: '+493087654321' })
  t.match(changed, { status: 200, body: { id: body['id'], phone: '+493087654321' } })
  const list = await ask({}, 'GET', '/api/v1/artists')
  t.match(list, { status: 200, body: { items: [{ phone: '****4321' }] } })
  t.notMatch(log(), 'cannot be decrypted')
})

await t.test('a row that cannot be decrypted hides its number and is logged once', async (t) => {
  const env = { FIELD_KEYSET: exportKeyset(generateKeyset()) }
  const { app, ask, log } = await createTestApp(t, database, env)
  const admin = await signIn(app, 'admin')
  const phones = ['+493012345671', '+493012345672']
  const [good, bad] = [
    (await ask(admin, 'POST', '/api/v1/artists', { ...artist, phone: phones[0]! })).body,
    (await ask(admin, 'POST', '/api/v1/artists', { ...artist, phone: phones[1]! })).body,
  ]
  const copy = 'UPDATE artists SET phone = (SELECT phone FROM artists WHERE id = $1) WHERE id = $2'
  await database.sql.query(copy, [good['id'], bad['id']])
  const list = await ask(admin, 'GET', '/api/v1/artists')
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
    const refusal = other.endsWith('%00') ? nulInUrl : invalid
    await refuse(t, refusal, admin, 'PUT', `/api/v1/users/${other}/roles`, { roles: ['viewer'] })
    await refuse(t, refusal, admin, 'GET', `/api/v1/users/${other}`)
    await refuse(t, refusal, admin, 'PATCH', `/api/v1/artists/${other}`, { name: 'B' })
  }
  await refuse(t, denied, admin, 'PUT', `/api/v1/users/${id.toUpperCase()}/roles`, {
    roles: ['viewer'],
  })
  const piece = { authorId: `urn:uuid:${id}`, title: 'T', body: '' }
  await refuse(t, invalid, admin, 'POST', '/api/v1/content', piece)
})

await t.test('the character NUL is refused in every text, also by routes of plugins', async (t) => {
  const { app, refuse, register } = await createTestApp(t, database)
  const { id } = await register('admin')
  const admin = await signIn(app, 'admin', id)
  const nul = 'a\u0000b'
  await refuse(t, nulInBody, {}, 'POST', '/api/v1/auth/login', { login: nul, password })
  await refuse(t, nulInBody, {}, 'POST', '/api/v1/auth/login', {
    login: 'a@example.com',
    password: nul,
  })
  await refuse(t, nulInBody, {}, 'POST', '/api/v1/users', {
    email: 'a@example.com',
    displayName: nul,
    password,
  })
  await refuse(t, nulInBody, admin, 'POST', '/api/v1/artists', { ...artist, bio: nul })
  await refuse(t, nulInUrl, admin, 'GET', '/api/v1/audit/events?action=a%00b')
})

await t.test('an account is registered with its password in one statement', async (t) => {
  const { sql, noted } = noteStatements(database.sql)
  const { ask, logIn, verify } = await createTestApp(t, database, {}, { sql })
  noted.length = 0
  const email = `${uuidV7()}@Example.com`
  t.equal(
    (await ask({}, 'POST', '/api/v1/users', { email, displayName: 'A', password })).status,
    202,
  )
  // The job that sends the message reads the user as well.
  const writes = noted.filter(({ text }) => !text.startsWith('SELECT'))
  t.match(writes, [{ text: /^INSERT INTO users \(.*password_hash\)/ }])
  t.equal(writes.length, 1)
  await verify(email)
  t.equal((await logIn(email.toUpperCase(), password)).status, 200)
  const reads = noted.filter(({ text }) => text.startsWith('SELECT'))
  t.ok(
    reads.every(
      ({ text }) => !text.includes('lower(') || text.includes('lower($1::text COLLATE "C")'),
    ),
  )
})
