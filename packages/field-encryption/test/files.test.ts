import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { S3Client, CreateBucketCommand } from '@aws-sdk/client-s3'
import { createManualClock, problemErrorHandler } from '@parapet/kit'
import {
  createLocalFileStore,
  createLocalProvider,
  createMemoryKeyStore,
  createS3FileStore,
  exportKeyset,
  fieldEncryption,
  generateKeyset,
  sendFile,
  type FieldEncryptionOptions,
  type Files,
  type FileStore,
  type S3ClientLike,
} from '@parapet/field-encryption'
import { runs } from '@parapet/testing'
import Fastify from 'fastify'
import S3rver from 's3rver'
import t, { type Test } from 'tap'

const SEGMENT = 1_048_576
const keyset = exportKeyset(generateKeyset())
const code = (what: string, statusCode = 500) => ({
  code: `PARAPET_FIELD_ENCRYPTION_${what}`,
  statusCode,
})
const openFailed = code('OPEN_FAILED')

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'parapet-files-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

async function build(t: Test, options: FieldEncryptionOptions = { keyset }) {
  const app = Fastify()
  t.after(() => app.close())
  app.setErrorHandler(problemErrorHandler)
  await app.register(fieldEncryption, options)
  return app
}

async function local(t: Test) {
  const folder = folderOf(t)
  const app = await build(t)
  return { folder, app, files: app.fieldEncryption.files(createLocalFileStore(folder)) }
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of source) pieces.push(piece)
  return Buffer.concat(pieces)
}

async function read(files: Files, ...args: Parameters<Files['get']>): Promise<Buffer> {
  return collect((await files.get(...args)).stream)
}

/** Gives some bytes, and then an error. */
async function* breakAfter(bytes: number): AsyncGenerator<Buffer> {
  yield randomBytes(bytes)
  throw new Error('the source broke')
}

async function checkFiles(t: Test, files: Files, store: FileStore): Promise<void> {
  for (const length of [0, 1, 1000, SEGMENT - 56, SEGMENT - 55, 3 * SEGMENT + 7]) {
    const plain = randomBytes(length)
    const name = `folder/file-${length}.bin`
    await files.put(name, Readable.from([plain.subarray(0, 10), plain.subarray(10)]))
    const file = await files.get(name)
    t.equal(file.size, length)
    t.ok((await collect(file.stream)).equals(plain), `${length} bytes`)
    t.equal(await files.size(name), length)
    const sealed = await collect(await store.read(name))
    if (length > 8) t.equal(sealed.indexOf(plain.subarray(0, 8)), -1, 'nothing is in clear')
  }
  const plain = randomBytes(3 * SEGMENT)
  await files.put('range', Readable.from([plain]))
  const ends = [0, 1, SEGMENT - 57, SEGMENT - 56, SEGMENT, 2 * SEGMENT + 3, 3 * SEGMENT - 1]
  for (const start of ends) {
    for (const end of ends.filter((each) => each >= start)) {
      const part = await read(files, 'range', {}, { start, end })
      if (!part.equals(plain.subarray(start, end + 1))) t.fail(`${start}-${end}`)
    }
  }
  t.ok((await read(files, 'range', {}, { start: 5 })).equals(plain.subarray(5)), 'to the end')
  t.equal((await files.get('range', {}, { start: 5, end: 1e12 })).end, 3 * SEGMENT - 1)
  for (const range of [
    { start: 3 * SEGMENT },
    { start: -1 },
    { start: 2, end: 1 },
    { start: 0.5 },
  ]) {
    await t.rejects(files.get('range', {}, range), code('RANGE_REFUSED', 416))
  }
  const missing = code('FILE_NOT_FOUND', 404)
  await t.rejects(files.get('nothing'), missing)
  await t.rejects(store.read('nothing'), missing)
  t.equal(await files.delete('range'), true)
  t.equal(await files.delete('range'), false)
  await t.rejects(files.get('range'), missing)
  await t.rejects(files.get('range', {}, { start: 0 }), missing)
}

await t.test('files on the local disk come back, whole and in ranges', async (t) => {
  const { folder, files } = await local(t)
  await checkFiles(t, files, createLocalFileStore(folder))
  const path = join(folder, 'folder', 'file-1.bin')
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.notMatch(readdirSync(join(folder, 'folder')).join(), /(^|,)\./, 'no draft is left')
})

await t.test('files in S3 come back, whole and in ranges, and large ones in parts', async (t) => {
  const server = new S3rver({
    port: 0,
    address: '127.0.0.1',
    silent: true,
    directory: folderOf(t),
  })
  const { port } = await server.run()
  t.after(() => server.close())
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  t.after(() => client.destroy())
  await client.send(new CreateBucketCommand({ Bucket: 'files' }))
  const store = createS3FileStore({ client, bucket: 'files', prefix: 'sealed/' })
  const files = (await build(t)).fieldEncryption.files(store)
  await checkFiles(t, files, store)
  const large = randomBytes(17 * SEGMENT)
  await files.put('large', Readable.from([large]))
  t.ok((await read(files, 'large')).equals(large))
  await t.rejects(files.put('broken', breakAfter(9 * SEGMENT)), { message: 'the source broke' })
  await t.rejects(files.get('broken'), code('FILE_NOT_FOUND', 404), 'a part of a file is no file')
  const lost = createS3FileStore({ client, bucket: 'no-such-bucket' })
  await t.rejects(lost.write('x', Readable.from([Buffer.from('x')])))
})

await t.test('a file opens under its own name, tenant and keys only', async (t) => {
  const { folder, files, app } = await local(t)
  await files.put('a', Readable.from([Buffer.from('secret')]), { tenant: 'acme' })
  t.equal((await read(files, 'a', { tenant: 'acme' })).toString(), 'secret')
  writeFileSync(join(folder, 'b'), readFileSync(join(folder, 'a')))
  for (const range of [undefined, { start: 0 }]) {
    await t.rejects(read(files, 'a', {}, range), openFailed, 'no tenant')
    await t.rejects(read(files, 'a', { tenant: 'globex' }, range), openFailed, 'another tenant')
    await t.rejects(read(files, 'b', { tenant: 'acme' }, range), openFailed, 'another name')
  }
  const other = await build(t, { keyset: exportKeyset(generateKeyset()) })
  const strangers = other.fieldEncryption.files(createLocalFileStore(folder))
  await t.rejects(read(strangers, 'a', { tenant: 'acme' }), openFailed)
  t.equal(app.fieldEncryption.provider, null)
  for (const name of [
    '',
    '.',
    '..',
    '../a',
    'a/../b',
    '/a',
    'a/',
    'a//b',
    '.hidden',
    'a\0',
    'x'.repeat(513),
  ]) {
    await t.rejects(files.get(name), code('INVALID_ARGUMENT'), JSON.stringify(name).slice(0, 20))
    await t.rejects(files.put(name, Readable.from([])), code('INVALID_ARGUMENT'))
    await t.rejects(files.delete(name), code('INVALID_ARGUMENT'))
  }
})

await t.test('a damaged file gives no byte of its bad segment', async (t) => {
  const { folder, files } = await local(t)
  const plain = randomBytes(3 * SEGMENT)
  await files.put('a', Readable.from([plain]))
  const sealed = readFileSync(join(folder, 'a'))
  const prefix = 69
  const cut = (index: number) =>
    sealed.subarray(prefix + index * SEGMENT, prefix + (index + 1) * SEGMENT)
  const parts = [cut(0), cut(1), cut(2), cut(3)] as const
  const whole = (...bytes: readonly Buffer[]) =>
    Buffer.concat([sealed.subarray(0, prefix), ...bytes])
  const flip = (at: number) => {
    const copy = Buffer.from(sealed)
    copy[at]! ^= 1
    return copy
  }
  const damaged: Record<string, Buffer> = {
    'no file': Buffer.alloc(0),
    'cut in the prefix': sealed.subarray(0, 50),
    'cut in the header': sealed.subarray(0, prefix + 20),
    'cut in a segment': sealed.subarray(0, 2 * SEGMENT + 500),
    'cut between segments': whole(parts[0], parts[1]),
    reordered: whole(parts[0], parts[2], parts[1], parts[3]),
    extended: Buffer.concat([sealed, Buffer.alloc(40)]),
    'a bit of the magic': flip(0),
    'a bit of the wrapped key': flip(30),
    'a bit of the salt': flip(prefix + 5),
    'a bit of the middle': flip(2 * SEGMENT),
    'a bit of the end': flip(sealed.length - 1),
  }
  for (const [name, bytes] of Object.entries(damaged)) {
    writeFileSync(join(folder, 'a'), bytes)
    let left = 0
    await t.rejects(
      async () => {
        for await (const piece of (await files.get('a')).stream as AsyncIterable<Buffer>) {
          if (!plain.subarray(left, left + piece.length).equals(piece))
            t.fail(`${name}: a false byte`)
          left += piece.length
        }
      },
      openFailed,
      name,
    )
    if (/cut|extended|the end/.test(name)) {
      await t.rejects(read(files, 'a', {}, { start: 0, end: 10 }), openFailed, `${name}: a range`)
    }
  }
})

await t.test('forgetting a subject takes the files with it', async (t) => {
  const { privateKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  const app = await build(t, {
    provider: createLocalProvider({ keyset }),
    keyStore: createMemoryKeyStore(),
    receiptKey: privateKey,
  })
  const service = app.fieldEncryption
  const files = service.files(createLocalFileStore(folderOf(t)))
  await files.put('ann', Readable.from([Buffer.from('a')]), { subject: 'ann' })
  await files.put('bob', Readable.from([Buffer.from('b')]), { subject: 'bob' })
  await t.rejects(read(files, 'ann', { subject: 'nobody' }), openFailed)
  await service.rotate({ subject: 'ann' })
  t.equal((await read(files, 'ann', { subject: 'ann' })).toString(), 'a')
  await service.forget({ subject: 'ann', reason: 'gdpr-17' })
  await t.rejects(read(files, 'ann', { subject: 'ann' }), code('FORGOTTEN', 410))
  t.equal((await read(files, 'bob', { subject: 'bob' })).toString(), 'b')
})

await t.test('a reply sends a file whole, or the one range that was asked for', async (t) => {
  const { app, files, folder } = await local(t)
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
  const get = (range?: string) =>
    app.inject({ url: '/a', headers: range === undefined ? {} : { range } })
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
  const part = await get('bytes=1048500-1048600')
  t.equal(part.statusCode, 206)
  t.equal(part.headers['content-range'], `bytes 1048500-1048600/${plain.length}`)
  t.ok(part.rawPayload.equals(plain.subarray(1_048_500, 1_048_601)))
  t.ok((await get('bytes=-5')).rawPayload.equals(plain.subarray(-5)))
  t.ok((await get('bytes=2097000-')).rawPayload.equals(plain.subarray(2_097_000)))
  for (const odd of ['bytes=0-1,3-4', 'bytes=5-1', 'bytes=-', 'lines=1-2', 'bytes=x']) {
    t.equal((await get(odd)).statusCode, 200, odd)
  }
  for (const out of [`bytes=${plain.length}-`, 'bytes=-0']) {
    const refused = await get(out)
    t.equal(refused.statusCode, 416, out)
    t.equal(refused.headers['content-range'], `bytes */${plain.length}`)
    t.match(refused.json(), { code: 'PARAPET_FIELD_ENCRYPTION_RANGE_REFUSED' })
  }
  const guarded = { range: 'bytes=0-1', 'if-range': '"etag"' }
  const changed = await app.inject({ url: '/a', headers: guarded })
  t.equal(changed.statusCode, 200, 'no validator of ours is met, so it is sent whole')
  t.equal(changed.rawPayload.length, plain.length)
  const head = await app.inject({ method: 'HEAD', url: '/a' })
  t.equal(head.statusCode, 200)
  t.equal(head.headers['content-length'], String(plain.length))
  t.equal(head.body, '')
  t.equal((await app.inject('/none')).statusCode, 404)
  writeFileSync(join(folder, 'a'), readFileSync(join(folder, 'a')).subarray(0, -1))
  await t.rejects(get(), 'a damaged file ends the connection')
  t.equal((await get('bytes=0-1')).statusCode, 500)
})

await t.test('a broken source leaves the old file, and no draft', async (t) => {
  const { folder, files } = await local(t)
  await files.put('a', Readable.from([Buffer.from('old')]))
  await t.rejects(files.put('a', breakAfter(10)), { message: 'the source broke' })
  t.equal((await read(files, 'a')).toString(), 'old')
  t.same(readdirSync(folder), ['a'])
  await files.put('folder/b', Readable.from([]))
  await t.rejects(files.get('folder'), code('FILE_NOT_FOUND', 404))
})

/** The store, and how many of the streams that it gave are still open. */
function counted(store: FileStore) {
  const open = new Set<Readable>()
  const counting: FileStore = {
    ...store,
    async read(...args) {
      const stream = (await store.read(...args)) as Readable
      open.add(stream)
      stream.once('close', () => open.delete(stream))
      return stream
    },
  }
  const settled = () =>
    Promise.all([...open].map((each) => new Promise((r) => each.once('close', r))))
  return { counting, open, settled }
}

await t.test('no file stays open: refused, damaged, or given up before it is read', async (t) => {
  const folder = folderOf(t)
  const { counting, open, settled } = counted(createLocalFileStore(folder))
  const files = (await build(t)).fieldEncryption.files(counting)
  await files.put('a', Readable.from([randomBytes(2 * SEGMENT)]))
  await t.rejects(files.get('a', { tenant: 'globex' }), openFailed)
  const left = await files.get('a')
  left.stream.destroy()
  const begun = await files.get('a')
  for await (const _ of begun.stream) break
  const sealed = readFileSync(join(folder, 'a'))
  sealed[69] = 7
  writeFileSync(join(folder, 'a'), sealed)
  await t.rejects(read(files, 'a'), openFailed, 'the header of the stream')
  await settled()
  t.equal(open.size, 0)
})

await t.test('a bucket that takes no more lets go of the source', async (t) => {
  let closed = 0
  async function* source(): AsyncGenerator<Buffer> {
    try {
      for (let i = 0; i < 20; i++) yield Buffer.alloc(SEGMENT)
    } finally {
      closed++
    }
  }
  const client: S3ClientLike = { send: async () => Promise.reject(new Error('full')) }
  const full = createS3FileStore({ client, bucket: 'x' })
  await t.rejects(full.write('a', source()), { message: 'full' })
  t.equal(closed, 1)
})

await t.test('what the disk cannot name or is no file is not there', async (t) => {
  const { files } = await local(t)
  await files.put('a/b', Readable.from([Buffer.from('x')]))
  const missing = code('FILE_NOT_FOUND', 404)
  for (const name of ['a', 'a/b/c', 'x'.repeat(300)]) {
    await t.rejects(files.get(name), missing, name.slice(0, 10))
    t.equal(await files.delete(name), false)
  }
  t.equal((await read(files, 'a/b')).toString(), 'x')
})

await t.test('a file outlives the key that wrapped its own once it is wrapped anew', async (t) => {
  const clock = createManualClock()
  const app = await build(t, {
    provider: createLocalProvider({ keyset }),
    keyStore: createMemoryKeyStore(),
    clock,
  })
  const service = app.fieldEncryption
  const files = service.files(createLocalFileStore(folderOf(t)))
  const plain = randomBytes(SEGMENT + 9)
  for (const name of ['moved', 'left']) await files.put(name, Readable.from([plain]))
  t.equal(await files.rewrap('moved'), false, 'nothing is due')
  const { previousKeyId } = await service.rotate()
  t.equal(await files.rewrap('moved'), true)
  t.equal(await files.rewrap('moved'), false)
  await t.rejects(files.rewrap('moved', { tenant: 'globex' }), openFailed)
  clock.advance(600_001)
  await service.retire(previousKeyId)
  t.ok((await read(files, 'moved')).equals(plain))
  await t.rejects(read(files, 'left'), openFailed)
  await t.rejects(files.rewrap('left'), openFailed)
})

await t.test('a large stream is held a few segments at a time', async (t) => {
  const app = await build(t)
  let pulled = 0
  let stored = 0
  let held = 0
  const store: FileStore = {
    async write(_, source) {
      for await (const piece of source) {
        stored += piece.length
        held = Math.max(held, pulled - stored)
      }
    },
    read: async () => Readable.from([]),
    size: async () => 0,
    delete: async () => false,
  }
  const megabytes = runs(64, 1024)
  const piece = randomBytes(65_536)
  const source = async function* () {
    for (let i = 0; i < megabytes * 16; i++) {
      pulled += piece.length
      yield piece
    }
  }
  const files = app.fieldEncryption.files(store)
  await files.put(
    'warm',
    (async function* () {
      for (let i = 0; i < 256; i++) yield piece
    })(),
  )
  globalThis.gc?.()
  stored = 0
  const before = process.memoryUsage().rss
  let most = before
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 5)
  await files.put('large', source())
  clearInterval(watch)
  t.equal(
    stored,
    megabytes * SEGMENT + 69 + 40 + 16 * Math.ceil((megabytes * SEGMENT + 40) / (SEGMENT - 16)),
  )
  // One segment, and the piece that told that another follows.
  t.ok(held > 0 && held <= SEGMENT + piece.length, `${held} bytes were held`)
  const more = (most - before) / SEGMENT
  t.comment(`${megabytes} MiB took ${more.toFixed(1)} MiB more memory`)
  if (process.env['PARAPET_SOAK'] === '1') t.ok(more <= 16, 'at most 16 MiB')
})
