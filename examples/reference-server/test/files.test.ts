/** Files: encrypted while they arrive, read in ranges, and seen by their owner only. */
import { readdir, readFile } from 'node:fs/promises'
import { request as sendRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { exportKeyset, generateKeyset } from '@parapet/field-encryption'
import { uuidV7 } from '@parapet/kit'
import t, { type Test } from 'tap'
import { createContents, MAX_FILE_BYTES } from '../src/files/contents.ts'
import { sweepFiles } from '../src/files/sweep.ts'
import { signIn } from './support/sign-in.ts'
import {
  createDataFolder,
  createTestApp,
  invalid,
  notFound,
  openDatabase,
  unauthenticated,
  type Headers,
} from './support/test-app.ts'

const database = await openDatabase(t)
const type = { 'content-type': 'application/octet-stream' }
const text = 'The quick brown fox jumps over the lazy dog'

async function createFileApp(t: Test) {
  const FILES_DIR = createDataFolder(t)
  const env = { FILES_DIR, FIELD_KEYSET: exportKeyset(generateKeyset()) }
  const made = await createTestApp(t, database, env)
  const upload = (who: Headers, payload: string | Buffer, name = 'fox.txt') =>
    made.send({
      method: 'POST',
      url: `/api/v1/files?name=${encodeURIComponent(name)}`,
      headers: { ...who, ...type },
      payload,
    })
  return { ...made, FILES_DIR, upload }
}

async function contentsOf(folder: string): Promise<Buffer[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = names.filter((each) => each.isFile())
  return Promise.all(files.map((each) => readFile(join(each.parentPath, each.name))))
}

await t.test('a file is stored encrypted and read whole or in ranges', async (t) => {
  const { app, ask, upload, register, FILES_DIR } = await createFileApp(t)
  const { headers } = await register('viewer')
  const made = await upload(headers, text, 'Füchse & Hunde.txt')
  t.match([made.status, made.body], [201, { name: 'Füchse & Hunde.txt', bytes: text.length }])
  t.same(Object.keys(made.body).toSorted(), [
    'bytes',
    'createdAt',
    'id',
    'name',
    'updatedAt',
    'version',
  ])
  const url = String(made.headers['location'])
  t.match(await ask(headers, 'GET', url), { status: 200, body: { bytes: text.length } })
  const content = `${url}/content`
  const whole = await app.inject({ url: content, headers })
  t.match([whole.statusCode, whole.body], [200, text])
  t.match(whole.headers, {
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
    'content-disposition': /^attachment; filename="F_chse _ Hunde.txt"/,
    'x-content-type-options': 'nosniff',
  })
  const part = await app.inject({ url: content, headers: { ...headers, range: 'bytes=4-8' } })
  t.match([part.statusCode, part.body], [206, 'quick'])
  t.equal(part.headers['content-range'], `bytes 4-8/${text.length}`)
  const late = await app.inject({ url: content, headers: { ...headers, range: 'bytes=99-' } })
  t.equal(late.statusCode, 416)
  for (const bytes of await contentsOf(FILES_DIR)) t.notOk(bytes.includes('quick'))
  const { rows } = await database.sql.query<{ name: string }>('SELECT name FROM files')
  t.match(rows[0]!.name, /^pe1\./, 'its name is encrypted')
})

await t.test('a file is seen by its owner and by administrators only', async (t) => {
  const { app, ask, refuse, upload, register } = await createFileApp(t)
  const [ann, bob] = [await register('viewer'), await register('editor')]
  const url = String((await upload(ann.headers, text)).headers['location'])
  for (const path of [url, `${url}/content`]) {
    await refuse(t, unauthenticated, {}, 'GET', path)
    await refuse(t, notFound, bob.headers, 'GET', path)
  }
  await refuse(t, notFound, bob.headers, 'DELETE', url)
  t.same((await ask(bob.headers, 'GET', '/api/v1/files')).body, { items: [] })
  t.match((await ask(await signIn(app, 'admin'), 'GET', url)).body, { bytes: text.length })
  t.equal((await ask(ann.headers, 'DELETE', url)).status, 204)
  await refuse(t, notFound, ann.headers, 'GET', `${url}/content`)
})

await t.test(
  'a name with a path, another type and a session without account are refused',
  async (t) => {
    const { app, send, upload, register } = await createFileApp(t)
    const { headers } = await register('viewer')
    for (const name of ['../../etc/passwd', 'a/b', 'con', '']) {
      const { status, code } = await upload(headers, text, name)
      t.same([status, code], [invalid.status, invalid.code], name)
    }
    const json = { method: 'POST', url: '/api/v1/files?name=a.txt', headers, payload: {} } as const
    t.equal((await send(json)).status, 415)
    const { payload: _none, ...empty } = json
    t.equal((await send(empty)).status, 415, 'no body and no type')
    t.equal((await upload({}, text)).status, 401)
    t.equal((await upload(await signIn(app, 'viewer', uuidV7()), text)).status, 404)
    t.same((await database.sql.query('SELECT 1 FROM files')).rows, [])
  },
)

await t.test(
  'a file that is too long, or whose client leaves, leaves nothing behind',
  async (t) => {
    const { app, upload, register, FILES_DIR } = await createFileApp(t)
    const { headers } = await register('viewer')
    const refused = await upload(headers, Buffer.alloc(MAX_FILE_BYTES + 1))
    t.same([refused.status, refused.code], [413, 'PARAPET_REFERENCE_FILE_REFUSED'])

    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const path = '/api/v1/files?name=half.bin'
    const open = () => sendRequest({ port, path, method: 'POST', headers: { ...headers, ...type } })
    const left = open()
    left.on('error', () => {})
    left.write('the first half')
    const rows = async () => (await database.sql.query('SELECT 1 FROM files')).rows.length
    while ((await rows()) === 0) await new Promise(setImmediate)
    left.destroy()
    while ((await rows()) > 0) await new Promise(setImmediate)
    t.same(await contentsOf(FILES_DIR), [])
    t.same((await database.sql.query('SELECT 1 FROM files')).rows, [])
  },
)

await t.test('the sweep deletes files of deleted accounts and unfinished uploads', async (t) => {
  const { app, upload, register, FILES_DIR } = await createFileApp(t)
  const [ann, bob] = [await register('viewer'), await register('viewer')]
  await upload(ann.headers, text)
  await upload(bob.headers, text)
  await database.sql.query(
    `INSERT INTO files (id, owner_id, folder, name, created_at)
     VALUES ($1, $1, 'f', 'pe1.x', now() - interval '2 hours')`,
    [bob.id],
  )
  await database.sql.query('DELETE FROM users WHERE id = $1', [ann.id])
  const contents = createContents(app.fieldEncryption, FILES_DIR)
  t.equal(await sweepFiles(app, contents), 2)
  t.equal(await sweepFiles(app, contents), 0)
  t.equal((await contentsOf(FILES_DIR)).length, 1, 'the file of the other account is kept')
})
