import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { createLocalFileStore, sendFile } from '@parapet/field-encryption'
import { problemErrorHandler } from '@parapet/kit'
import t, { type Test } from 'tap'
import { buildFixed, folderOf } from './fixtures.ts'

const SEGMENT = 1_048_576

async function serve(t: Test) {
  const folder = folderOf(t)
  const { app } = await buildFixed(t)
  app.setErrorHandler(problemErrorHandler)
  const files = app.fieldEncryption.files(createLocalFileStore(folder))
  const plain = randomBytes(2 * SEGMENT)
  await files.put('a', Readable.from([plain]))
  app.get('/a', (request, reply) =>
    sendFile(request, reply, files, {
      name: 'a',
      contentType: 'image/png',
      fileName: 'Ün "x".png',
    }),
  )
  app.get('/none', (request, reply) => sendFile(request, reply, files, { name: 'none' }))
  app.get('/by-name', (request, reply) =>
    sendFile(request, reply, app.fieldEncryption.files(createLocalFileStore('/')), {
      name: (request.query as { name: string }).name,
    }),
  )
  const get = (range?: string) =>
    app.inject({ url: '/a', headers: range === undefined ? {} : { range } })
  return { app, folder, plain, get }
}

await t.test('sendFile sends the whole file without a range', async (t) => {
  const { app, plain, get } = await serve(t)
  const whole = await get()
  t.equal(whole.statusCode, 200)
  t.ok(whole.rawPayload.equals(plain))
  t.match(whole.headers, {
    'content-length': String(plain.length),
    'accept-ranges': 'bytes',
    'content-type': 'image/png',
    'x-content-type-options': 'nosniff',
    'content-disposition': `attachment; filename="_n _x_.png"; filename*=UTF-8''%C3%9Cn%20%22x%22.png`,
  })
  const head = await app.inject({ method: 'HEAD', url: '/a' })
  t.equal(head.statusCode, 200)
  t.equal(head.headers['content-length'], String(plain.length))
  t.equal(head.body, '')
})

await t.test('sendFile sends one requested range with 206', async (t) => {
  const { plain, get } = await serve(t)
  const part = await get('bytes=1048500-1048600')
  t.equal(part.statusCode, 206)
  t.equal(part.headers['content-range'], `bytes 1048500-1048600/${plain.length}`)
  t.ok(part.rawPayload.equals(plain.subarray(1_048_500, 1_048_601)))
  t.ok((await get('bytes=-5')).rawPayload.equals(plain.subarray(-5)))
  t.ok((await get('bytes=2097000-')).rawPayload.equals(plain.subarray(2_097_000)))
})

await t.test('sendFile sends the whole file for a malformed or conditional range', async (t) => {
  const { app, plain, get } = await serve(t)
  for (const odd of ['bytes=0-1,3-4', 'bytes=5-1', 'bytes=-', 'lines=1-2', 'bytes=x']) {
    t.equal((await get(odd)).statusCode, 200, odd)
  }
  const headers = { range: 'bytes=0-1', 'if-range': '"etag"' }
  const conditional = await app.inject({ url: '/a', headers })
  t.equal(conditional.statusCode, 200, 'there is no validator that If-Range could match')
  t.equal(conditional.rawPayload.length, plain.length)
})

await t.test('sendFile refuses a range outside the file and a missing file', async (t) => {
  const { app, plain, get } = await serve(t)
  for (const out of [`bytes=${plain.length}-`, 'bytes=-0']) {
    const refused = await get(out)
    t.equal(refused.statusCode, 416, out)
    t.equal(refused.headers['content-range'], `bytes */${plain.length}`)
    t.match(refused.json(), { code: 'PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED' })
  }
  const missing = await app.inject('/none')
  t.equal(missing.statusCode, 404)
  t.match(missing.json(), { code: 'PARAPET_FIELD_ENCRYPTION_FILE_NOT_FOUND' })
  for (const name of ['../x', 'é', 'a/', '', 'x\0', 'x'.repeat(600)]) {
    const odd = await app.inject({ url: '/by-name', query: { name } })
    t.equal(odd.statusCode, 404, JSON.stringify(name).slice(0, 20))
  }
})

await t.test('an error response has no headers of the file', async (t) => {
  const { app, get } = await serve(t)
  const changed = await app.inject({ url: '/a', headers: { 'if-match': '"other"' } })
  t.equal(changed.statusCode, 412)
  const refused = await get('bytes=99999999-')
  t.equal(refused.statusCode, 416)
  for (const { headers } of [changed, refused]) {
    t.notMatch(Object.keys(headers).join(), /etag|accept-ranges|content-disposition/)
  }
})

await t.test('sendFile closes the connection before a damaged segment', async (t) => {
  const { folder, get } = await serve(t)
  writeFileSync(join(folder, 'a'), readFileSync(join(folder, 'a')).subarray(0, -1))
  await t.rejects(get(), { message: /destroyed|OPEN_FAILED|cannot be opened/ })
  const refused = await get('bytes=0-1')
  t.equal(refused.statusCode, 500)
  t.match(refused.json(), { code: 'PARAPET_FIELD_ENCRYPTION_OPEN_FAILED' })
  t.notMatch(Object.keys(refused.headers).join(), /etag|ranges|content-range/)
})
