import { Readable } from 'node:stream'
import {
  createLocalFileStore,
  createS3FileStore,
  PARAPET_FIELD_ENCRYPTION_FILE_CHANGED,
  sendFile,
  type FileStore,
} from '@parapet/field-encryption'
import { problemErrorHandler } from '@parapet/kit'
import t, { type Test } from 'tap'
import { buildFixed, code, collect, folderOf } from './fixtures.ts'

const SEGMENT = 1_048_576
const old = Buffer.alloc(3 * SEGMENT, 'o')
const next = Buffer.alloc(2 * SEGMENT + 5, 'n')

async function build(t: Test, wrap = (store: FileStore) => store) {
  const { app } = await buildFixed(t)
  app.setErrorHandler(problemErrorHandler)
  const files = app.fieldEncryption.files(wrap(createLocalFileStore(folderOf(t))))
  const put = (bytes: Buffer) => files.put('a', Readable.from([bytes]))
  await put(old)
  app.get('/a', (request, reply) => sendFile(request, reply, files, { name: 'a' }))
  const get = (headers: Record<string, string> = {}) => app.inject({ url: '/a', headers })
  return { app, files, put, get }
}

await t.test(
  'a file that is replaced while it is read stays the version that was opened',
  async (t) => {
    const { files, put } = await build(t)
    for (const range of [undefined, { start: 10 }, { start: SEGMENT, end: 2 * SEGMENT }]) {
      await put(old)
      const open = await files.get('a', {}, range)
      await put(next)
      const bytes = await collect(open.stream)
      const expected = old.subarray(range?.start ?? 0, (range?.end ?? old.length - 1) + 1)
      t.ok(bytes.equals(expected), JSON.stringify(range) ?? 'the whole file')
      t.ok(
        (await collect((await files.get('a')).stream)).equals(next),
        'a later read gets the new one',
      )
    }
  },
)

await t.test(
  '150 ranges while the file is replaced have the bytes and length of one version',
  async (t) => {
    const { put, get } = await build(t)
    const state = { running: true }
    const writer = (async () => {
      for (let round = 0; state.running; round++) await put(round % 2 === 0 ? next : old)
    })()
    for (let i = 0; i < 150; i++) {
      const reply = await get({ range: `bytes=${i * 13}-${i * 13 + 99}` })
      const size = Number(/\/(\d+)$/.exec(String(reply.headers['content-range']))?.[1])
      const letter = size === old.length ? 'o' : 'n'
      const isWhole = reply.rawPayload.equals(Buffer.alloc(100, letter))
      if (reply.statusCode !== 206 || !isWhole) t.fail(`range ${i}: ${reply.statusCode}`)
    }
    state.running = false
    await writer
  },
)

await t.test('a store that has lost the version is opened again, a few times', async (t) => {
  const state = { losses: 0, closed: 0 }
  const { files } = await build(t, (store) => ({
    ...store,
    async open(name) {
      const file = await store.open!(name)
      return {
        ...file,
        async read(range) {
          if (state.losses-- > 0) throw new PARAPET_FIELD_ENCRYPTION_FILE_CHANGED()
          return file.read(range)
        },
        async close() {
          state.closed++
          await file.close()
        },
      }
    },
  }))
  state.losses = 4
  t.ok((await collect((await files.get('a')).stream)).equals(old))
  t.equal(state.closed, 5, 'every attempt was closed')
  state.losses = 5
  await t.rejects(files.get('a'), code('FILE_CHANGED', 412))
})

await t.test('an entity tag names the version, and survives a rewrap', async (t) => {
  const { put, get, app } = await build(t)
  const first = await get()
  const etag = String(first.headers.etag)
  t.match(etag, /^"[\w-]{22}"$/)
  t.equal((await get()).headers.etag, etag)
  const head = await app.inject({ method: 'HEAD', url: '/a' })
  t.equal(head.headers.etag, etag)
  for (const match of [etag, `W/${etag}`, '*', `"x", ${etag}`]) {
    const cached = await get({ 'if-none-match': match })
    t.equal(cached.statusCode, 304, match)
    t.equal(cached.rawPayload.length, 0)
    t.equal(cached.headers.etag, etag)
  }
  const resumed = await get({ range: 'bytes=5-9', 'if-range': etag })
  t.equal(resumed.statusCode, 206)
  t.equal((await get({ 'if-match': etag })).statusCode, 200)
  await put(old)
  t.not((await get()).headers.etag, etag, 'the same bytes put again are another version')
  const stale = await get({ range: 'bytes=5-9', 'if-range': etag })
  t.equal(stale.statusCode, 200, 'a stale range gets the whole new file')
  t.equal(stale.rawPayload.length, old.length)
  const changed = await get({ 'if-match': etag, range: 'bytes=5-9' })
  t.equal(changed.statusCode, 412)
  t.match(changed.json(), { code: 'PARAPET_FIELD_ENCRYPTION_FILE_CHANGED' })
  t.equal((await get({ 'if-range': new Date().toUTCString(), range: 'bytes=1-2' })).statusCode, 200)
})

await t.test('a range of an empty file gets the empty file', async (t) => {
  const { put, get } = await build(t)
  await put(Buffer.alloc(0))
  for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-5', 'bytes=7-']) {
    const reply = await get({ range })
    t.equal(reply.statusCode, 200, range)
    t.equal(reply.headers['content-length'], '0')
    t.equal(reply.headers['content-range'], undefined)
  }
})

await t.test('a range that the storage cuts at the end of a segment fails', async (t) => {
  const { files } = await build(t, (store) => ({
    ...store,
    async open(name) {
      const file = await store.open!(name)
      const cut = 69 + SEGMENT - 1
      return {
        ...file,
        read: (range) =>
          file.read(range && range.start < 200 && range.end > cut ? { ...range, end: cut } : range),
      }
    },
  }))
  const { stream } = await files.get('a', {}, { start: 0, end: 2 * SEGMENT })
  await t.rejects(collect(stream), code('OPEN_FAILED'))
})

interface S3Input {
  readonly input: {
    readonly Range?: string
    readonly IfMatch?: string
    readonly VersionId?: string
  }
}

/** A bucket whose object is replaced after a number of reads. @param obeys whether it knows IfMatch */
function fakeBucket(versions: Buffer[], obeys: boolean) {
  const calls: S3Input['input'][] = []
  let replaceIn = 1
  const client = {
    async send(command: S3Input) {
      const { Range, IfMatch } = command.input
      calls.push(command.input)
      const ETag = `"v${versions.length}"`
      const body = versions[0]!
      if (command.constructor.name === 'HeadObjectCommand')
        return { ETag, ContentLength: body.length }
      if (obeys && IfMatch !== undefined && IfMatch !== ETag) {
        throw Object.assign(new Error('replaced'), { $metadata: { httpStatusCode: 412 } })
      }
      const [start, end] = (/=(\d+)-(\d+)/.exec(Range ?? '') ?? [0, 0, body.length])
        .slice(1)
        .map(Number)
      if (replaceIn-- === 0) versions.shift()
      return { ETag, Body: Readable.from([body.subarray(start, end! + 1)]) }
    },
  }
  return { client: client as never, calls }
}

await t.test('S3 is read by the version that was opened', async (t) => {
  const { app } = await buildFixed(t)
  const folder = folderOf(t)
  const local = createLocalFileStore(folder)
  const sealed: Buffer[] = []
  for (const bytes of [old, next]) {
    await app.fieldEncryption.files(local).put('a', Readable.from([bytes]))
    sealed.push(await collect(await local.read('a')))
  }
  for (const obeys of [true, false]) {
    const { client, calls } = fakeBucket([...sealed], obeys)
    const files = app.fieldEncryption.files(createS3FileStore({ client, bucket: 'b' }))
    const file = await files.get('a', {}, { start: 5, end: 9 })
    t.equal((await collect(file.stream)).toString(), 'nnnnn', 'replaced between two reads')
    t.equal(file.size, next.length)
    t.ok(calls.filter(({ Range }) => Range).every(({ IfMatch }) => IfMatch !== undefined))
  }
})
