import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import {
  createLocalFileStore,
  createLocalProvider,
  createMemoryKeyStore,
  createS3FileStore,
  exportKeyset,
  generateKeyset,
  parseKeyset,
  type FieldEncryptionOptions,
  type Files,
  type FileStore,
  type S3ClientLike,
} from '@parapet/field-encryption'
import { createManualClock } from '@parapet/kit'
import { runs } from '@parapet/testing'
import S3rver from 's3rver'
import t, { type Test } from 'tap'
import { createKeyRing } from '../src/key-ring/key-ring.ts'
import { createFiles } from '../src/files/files.ts'
import { buildFixed, code, collect, folderOf, keyset, openFailed, readSpec } from './fixtures.ts'

const SEGMENT = 1_048_576

async function build(t: Test, options: FieldEncryptionOptions = { keyset }) {
  const { app } = await buildFixed(t, options)
  return app
}

async function local(t: Test) {
  const folder = folderOf(t)
  const app = await build(t)
  return { folder, app, files: app.fieldEncryption.files(createLocalFileStore(folder)) }
}

async function read(files: Files, ...args: Parameters<Files['get']>): Promise<Buffer> {
  return collect((await files.get(...args)).stream)
}

/** Yields some bytes, then throws. */
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
    if (length > 8)
      t.equal(sealed.indexOf(plain.subarray(0, 8)), -1, 'the stored file has no plaintext')
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

await t.test('files on the local disk can be read whole and in ranges', async (t) => {
  const { folder, files } = await local(t)
  await checkFiles(t, files, createLocalFileStore(folder))
  const path = join(folder, 'folder', 'file-1.bin')
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.notMatch(readdirSync(join(folder, 'folder')).join(), /(^|,)\./, 'no temporary file is left')
})

await t.test(
  'files in S3 can be read whole and in ranges, and large ones are uploaded in parts',
  async (t) => {
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
    await t.rejects(
      files.get('broken'),
      code('FILE_NOT_FOUND', 404),
      'an incomplete upload is not stored',
    )
    const lost = createS3FileStore({ client, bucket: 'no-such-bucket' })
    await t.rejects(lost.write('x', Readable.from([Buffer.from('x')])), code('FILE_NOT_FOUND', 404))
  },
)

await t.test('a file opens with its own name, tenant and keys only', async (t) => {
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
  const otherFiles = other.fieldEncryption.files(createLocalFileStore(folder))
  await t.rejects(read(otherFiles, 'a', { tenant: 'acme' }), openFailed)
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

await t.test('a damaged segment of a file is not emitted', async (t) => {
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
            t.fail(`${name}: an emitted byte is wrong`)
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

await t.test('forget makes the files of the subject unreadable', async (t) => {
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
  await t.rejects(read(files, 'ann', { subject: 'unknown' }), openFailed)
  await service.rotate({ subject: 'ann' })
  t.equal((await read(files, 'ann', { subject: 'ann' })).toString(), 'a')
  await service.forget({ subject: 'ann', reason: 'gdpr-17' })
  await t.rejects(read(files, 'ann', { subject: 'ann' }), code('FORGOTTEN', 410))
  t.equal((await read(files, 'bob', { subject: 'bob' })).toString(), 'b')
})

await t.test('a failed upload keeps the old file and leaves no temporary file', async (t) => {
  const { folder, files } = await local(t)
  await files.put('a', Readable.from([Buffer.from('old')]))
  await t.rejects(files.put('a', breakAfter(10)), { message: 'the source broke' })
  t.equal((await read(files, 'a')).toString(), 'old')
  t.same(readdirSync(folder), ['a'])
  await files.put('folder/b', Readable.from([]))
  await t.rejects(files.get('folder'), code('FILE_NOT_FOUND', 404))
})

/** Wraps a store and tracks which of its streams are still open. */
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

await t.test('no file handle stays open after a refused, damaged or abandoned read', async (t) => {
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
  await t.rejects(read(files, 'a'), openFailed, 'damaged stream header')
  await settled()
  t.equal(open.size, 0)
})

await t.test('a failed S3 upload closes its source', async (t) => {
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

await t.test('a name that cannot be stored, and a source of text, are refused', async (t) => {
  const { app } = await buildFixed(t)
  const folder = folderOf(t)
  const files = app.fieldEncryption.files(createLocalFileStore(folder))
  await files.put('a/b', Readable.from([Buffer.from('x')]))
  for (const name of ['a', 'a/b/c', 'x'.repeat(300)]) {
    const error = await t.rejects(
      files.put(name, Readable.from([Buffer.from('x')])),
      code('INVALID_ARGUMENT'),
      name.slice(0, 10),
    )
    t.notMatch(String(error), folder)
  }
  const text = Readable.from(['text']) as AsyncIterable<never>
  await t.rejects(files.put('t', text), code('INVALID_ARGUMENT'))
  await t.rejects(files.put('t', text, { tennant: 'x' } as never), code('INVALID_ARGUMENT'))
})

await t.test('a folder, or a name that the disk does not support, is a missing file', async (t) => {
  const { files } = await local(t)
  await files.put('a/b', Readable.from([Buffer.from('x')]))
  const missing = code('FILE_NOT_FOUND', 404)
  for (const name of ['a', 'a/b/c', 'x'.repeat(300)]) {
    await t.rejects(files.get(name), missing, name.slice(0, 10))
    t.equal(await files.delete(name), false)
  }
  t.equal((await read(files, 'a/b')).toString(), 'x')
})

await t.test('a file whose key was rewrapped outlives the retired key', async (t) => {
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
  t.equal(await files.rewrap('moved'), false, 'its key is current')
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

await t.test('a large upload buffers at most one segment', async (t) => {
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
  // One segment, and the piece that showed that another one follows.
  t.ok(held > 0 && held <= SEGMENT + piece.length, `${held} bytes were buffered`)
  const more = (most - before) / SEGMENT
  t.comment(`${megabytes} MiB took ${more.toFixed(1)} MiB more memory`)
  if (process.env['PARAPET_SOAK'] === '1') t.ok(more <= 16, 'at most 16 MiB')
})

await t.test('the vectors of docs/spec/encrypted-file.md pass', async (t) => {
  const { keyset, cases } = readSpec<{
    keyset: object
    cases: { name: string; tenant: string; file: string; hex: string; plaintext?: string }[]
  }>('encrypted-file')
  const ring = createKeyRing(parseKeyset(JSON.stringify(keyset)))
  const keys = { find: async () => [ring], refresh: () => false }
  t.ok(cases.length >= 12)
  for (const { name, tenant, file, hex, plaintext } of cases) {
    const bytes = Buffer.from(hex, 'hex')
    const store = {
      write: async () => {},
      read: async () => Readable.from([bytes]),
      size: async () => bytes.length,
      delete: async () => false,
    }
    const read = async () =>
      (await collect((await createFiles(store, keys).get(file, { tenant })).stream)).toString()
    if (plaintext === undefined) await t.rejects(read(), openFailed, name)
    else t.equal(await read(), plaintext, name)
  }
})
