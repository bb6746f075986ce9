import { existsSync, mkdirSync, readdirSync, utimesSync } from 'node:fs'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { EventEmitter, once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { deflateRawSync, gzipSync } from 'node:zlib'
import multipart from '@fastify/multipart'
import { downloadHeaders, type UploadRules } from '@parapet/input-guard'
import { strToU8, zipSync } from 'fflate'
import t, { type Test } from 'tap'
import { receiveFiles } from '../src/uploads/receive-files.ts'
import { resolveUploadRules } from '../src/uploads/settings.ts'
import { build } from './helpers.ts'

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)
const GIF = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64')
const SVG = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')

interface Part {
  readonly name?: string
  readonly filename?: string
  readonly type?: string
  readonly content: Buffer | string
}

const BOUNDARY = 'x-boundary'

function form(parts: readonly Part[]): Buffer {
  const chunks = parts.flatMap(({ name = 'file', filename, type, content }) => [
    `--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}\r\n${type === undefined ? '' : `content-type: ${type}\r\n`}\r\n`,
    content,
    '\r\n',
  ])
  return Buffer.concat([...chunks, `--${BOUNDARY}--\r\n`].map((chunk) => Buffer.from(chunk)))
}

/** The files of a request are deleted after its response was sent. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

async function receiver(t: Test, rules: Partial<UploadRules> = {}) {
  const { app, events } = await build(t)
  await app.register(multipart)
  const root = t.testdir({ staged: {}, kept: {} })
  const [directory, kept] = [join(root, 'staged'), join(root, 'kept')]
  const received: object[] = []
  app.post('/', async (request) => {
    const { files, fields } = await app.inputGuard.receiveUpload(request, {
      types: ['image/png'],
      directory,
      ...rules,
    })
    for (const file of files) await copyFile(file.path, join(kept, file.storedName))
    received.push({ files, fields })
    return { files: files.length }
  })
  const send = (parts: readonly Part[]) =>
    app.inject({
      method: 'POST',
      url: '/',
      headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
      payload: form(parts),
    })
  const refused = async (name: string, parts: readonly Part[], status = 400) => {
    const reply = await send(parts)
    const code = { 400: 'REFUSED', 413: 'TOO_LARGE' }[status] ?? ''
    const what = status === 503 ? 'SCAN_FAILED' : `UPLOAD_${code}`
    t.match(
      [reply.statusCode, reply.json()],
      [status, { code: `PARAPET_INPUT_GUARD_${what}` }],
      `${name}: ${reply.body}`,
    )
    t.same(readdirSync(directory), [], `${name}: nothing is left`)
  }
  return { app, events, directory, kept, received, send, refused }
}

const png = { filename: 'a.png', type: 'image/png', content: PNG }

await t.test(
  'a file gets a generated name, and is deleted when the response is sent',
  async (t) => {
    const { send, received, directory, kept } = await receiver(t, { maxFiles: 2 })
    const reply = await send([
      { name: 'title', content: 'Two files' },
      png,
      { ...png, name: 'second', filename: 'Ünïcode name.png' },
    ])
    t.match([reply.statusCode, reply.json()], [200, { files: 2 }])
    t.match(received, [
      {
        fields: { title: 'Two files' },
        files: [
          {
            field: 'file',
            displayName: 'a.png',
            storedName: /^[0-9a-f-]{36}\.png$/,
            type: 'image/png',
            bytes: PNG.length,
            sha256: /^[0-9a-f]{64}$/,
          },
          { field: 'second', displayName: 'Ünïcode name.png' },
        ],
      },
    ])
    await until(() => readdirSync(directory).length === 0)
    const [stored] = readdirSync(kept).filter((name) => name.endsWith('.png'))
    t.same(await readFile(join(kept, stored!)), PNG)
  },
)

await t.test('the declared type, the content and the name must be allowed', async (t) => {
  const { refused, events } = await receiver(t, {
    types: ['image/png', 'text/csv', 'image/svg+xml', 'text/html'],
    maxFiles: 2,
  })
  const html = '<!doctype html><script>alert(1)</script>'
  await refused('a type that is not listed', [{ ...png, type: 'image/gif', content: GIF }])
  await refused('content of another type', [{ ...png, content: GIF }])
  await refused('a page as an image', [{ ...png, content: html }])
  await refused('a page as a table', [
    { filename: 'a.csv', type: 'text/csv', content: `a,b\n${html}` },
  ])
  await refused('an SVG as a table', [{ filename: 'a.csv', type: 'text/csv', content: SVG }])
  await refused('bytes as a table', [
    { filename: 'a.csv', type: 'text/csv', content: Buffer.from([1, 0, 2]) },
  ])
  await refused('bytes that are no UTF-8', [
    {
      filename: 'a.csv',
      type: 'text/csv',
      content: Buffer.from([0x61, 0xff, 0x61, 0x61, 0x61, 0x61]),
    },
  ])
  await refused('SVG, even if it is listed', [
    { filename: 'a.svg', type: 'image/svg+xml', content: SVG },
  ])
  await refused('HTML, even if it is listed', [
    { filename: 'a.html', type: 'text/html', content: html },
  ])
  await refused('an empty file', [{ ...png, content: '' }])
  for (const filename of ['con.png', 'a%2e%2e.png', '.htaccess', 'a:b.png'])
    await refused(filename, [{ ...png, filename }])
  await refused('a good file before a bad one', [png, { ...png, filename: 'nul' }], 400)
  t.ok(
    events.every(
      ({ type }) => type === 'input_guard.upload_refused' || type === 'input_guard.rejected',
    ),
  )
  t.match(events[0], {
    type: 'input_guard.upload_refused',
    details: { reason: /the type of the file/ },
  })
})

await t.test('a path in the name of a file does not reach the name', async (t) => {
  const { send, received } = await receiver(t)
  await send([{ ...png, filename: '../../etc/passwd.png' }])
  const names = (received as { files: { displayName: string }[] }[]).flatMap(({ files }) =>
    files.map((file) => file.displayName),
  )
  t.ok(
    names.every((name) => !/[/\\]|\.\./.test(name)),
    names.join(),
  )
})

await t.test('text without a signature is accepted as a declared text type', async (t) => {
  const { send, received } = await receiver(t, {
    types: ['text/csv', 'application/json'],
    maxFiles: 2,
  })
  const long = 'é,b\n'.repeat(3000)
  const reply = await send([
    { filename: 'a.csv', type: 'text/csv; charset=utf-8', content: long },
    { filename: 'b.json', type: 'application/json', content: '{}' },
  ])
  t.equal(reply.statusCode, 200, reply.body)
  t.match(received, [
    { files: [{ type: 'text/csv', storedName: /\.csv$/ }, { type: 'application/json' }] },
  ])
})

await t.test('files, bytes and fields are limited', async (t) => {
  const big = { ...png, content: Buffer.concat([PNG, Buffer.alloc(5000)]) }
  const { refused, send } = await receiver(t, {
    maxFileBytes: 4000,
    maxFiles: 2,
    maxFields: 1,
    maxTotalBytes: 200,
  })
  await refused('one file', [big], 413)
  await refused(
    'all files',
    [{ ...png, content: Buffer.concat([PNG, Buffer.alloc(100)]) }, png],
    413,
  )
  await refused('too many files', [png, png, png], 413)
  await refused(
    'too many fields',
    [
      { name: 'a', content: 'x' },
      { name: 'b', content: 'x' },
    ],
    413,
  )
  await refused('a long field', [{ name: 'a', content: 'x'.repeat(200_000) }], 413)
  t.equal((await send([png, png])).statusCode, 200)
})

const zip = (files: Record<string, Uint8Array>) => ({
  filename: 'a.zip',
  type: 'application/zip',
  content: Buffer.from(zipSync(files, { level: 9 })),
})

await t.test('a form that is damaged is a fault of the client', async (t) => {
  const { app, received, directory } = await receiver(t, { types: ['text/plain'] })
  const part = `--b\r\ncontent-disposition: form-data; name="f"; filename="a.txt"\r\ncontent-type: text/plain\r\n\r\n`
  const whole = `${part}hello\r\n--b--\r\n`
  const send = (payload: string, type = 'multipart/form-data; boundary=b') =>
    app.inject({ method: 'POST', url: '/', headers: { 'content-type': type }, payload })
  t.equal((await send(whole)).statusCode, 200)
  await until(() => readdirSync(directory).length === 0)
  const damaged = [
    'junk',
    '--b\r\n',
    part.slice(0, 40),
    part,
    `${part}hello`,
    `${part}hello\r\n--b`,
    `${part}hello\r\n${part}`,
    part.concat('x'.repeat(500_000)),
  ]
  for (const payload of damaged) {
    const reply = await send(payload)
    const problem = { code: 'PARAPET_INPUT_GUARD_UPLOAD_REFUSED', detail: /the form is damaged/ }
    t.match([reply.statusCode, reply.json()], [400, problem], payload.slice(-40))
    t.same(readdirSync(directory), [])
  }
  t.ok((await send(whole, 'multipart/form-data')).statusCode < 500, 'no boundary')
  t.equal(received.length, 1)
})

await t.test('archives that unpack to too much are refused', async (t) => {
  const archive = { maxEntries: 3, maxRatio: 50, maxUnpackedBytes: 20_000_000 }
  const { refused, send } = await receiver(t, { types: ['application/zip'], archive })
  const text = strToU8('hello')
  t.equal((await send([zip({ 'a.txt': text, 'b/c.txt': text })])).statusCode, 200)
  await refused('a bomb', [zip({ bomb: new Uint8Array(10_000_000) })])
  await refused('entries', [zip({ a: text, b: text, c: text, d: text })])
  for (const name of ['../a', 'a/../../b', '/etc/passwd', 'C:/x', 'a\\..\\..\\b'])
    await refused(name, [zip({ [name]: text })])
  const cut = zip({ a: text, b: text })
  await refused('damaged', [{ ...cut, content: cut.content.subarray(0, cut.content.length - 30) }])
  const lying = Buffer.from(cut.content)
  lying.writeUInt16LE(500, lying.length - 12)
  await refused('entries that overlap', [{ ...cut, content: lying }])
  const random = Buffer.alloc(300_000).map((_, i) => (i * 7919 * (i >> 3)) & 0xff)
  t.equal((await send([zip({ data: random })])).statusCode, 200)
  const loose = await receiver(t, {
    types: ['application/zip'],
    archive: { maxRatio: 100_000, maxUnpackedBytes: 2_000_000 },
  })
  await loose.refused('unpacked bytes', [zip({ big: new Uint8Array(3_000_000) })])
})

const archive = (content: Buffer) => ({ filename: 'a.zip', type: 'application/zip', content })

interface RawEntry {
  readonly name: string
  /** In the directory. */
  readonly listed?: string
  readonly data?: Buffer
  readonly deflated?: boolean
  /** Added to what the directory says. */
  readonly unpacked?: number
  readonly packed?: number
  readonly flags?: number
  readonly attributes?: number
  readonly extra?: Buffer
}

/** An archive whose two headers may differ. `refersTo`: the entry that each line of the directory names. */
function rawZip(entries: readonly RawEntry[], refersTo = (at: number) => at, gap = ''): Buffer {
  const [locals, lines]: [Buffer[], Buffer[]] = [[], []]
  const written = entries.map((entry) => {
    const { name, data = Buffer.from('hi'), deflated = false, extra = Buffer.alloc(0) } = entry
    const packed = deflated ? deflateRawSync(data, { level: 9 }) : data
    const head = Buffer.alloc(30)
    head.writeUInt32LE(0x04034b50)
    head.writeUInt16LE(entry.flags ?? 0, 6)
    head.writeUInt16LE(deflated ? 8 : 0, 8)
    head.writeUInt32LE(packed.length, 18)
    head.writeUInt32LE(data.length, 22)
    head.writeUInt16LE(name.length, 26)
    head.writeUInt16LE(extra.length, 28)
    const offset = Buffer.concat(locals).length
    locals.push(head, Buffer.from(name), extra, packed)
    return { offset, packed: packed.length, unpacked: data.length, deflated }
  })
  locals.push(Buffer.from(gap))
  entries.forEach((entry, at) => {
    const { offset, packed, unpacked, deflated } = written[refersTo(at)]!
    const name = Buffer.from(entry.listed ?? entry.name)
    const line = Buffer.alloc(46)
    line.writeUInt32LE(0x02014b50)
    line[5] = 3
    line.writeUInt16LE(entry.flags ?? 0, 8)
    line.writeUInt16LE(deflated ? 8 : 0, 10)
    line.writeUInt32LE(packed + (entry.packed ?? 0), 20)
    line.writeUInt32LE(unpacked + (entry.unpacked ?? 0), 24)
    line.writeUInt16LE(name.length, 28)
    line.writeUInt32LE(entry.attributes ?? 0, 38)
    line.writeUInt32LE(offset, 42)
    lines.push(line, name)
  })
  const [body, directory] = [Buffer.concat(locals), Buffer.concat(lines)]
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50)
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(body.length, 16)
  return Buffer.concat([body, directory, end])
}

await t.test('an archive is refused if extractors could see other entries', async (t) => {
  const { refused, send } = await receiver(t, { types: ['application/zip'] })
  const [a, b] = [{ name: 'a' }, { name: 'b' }]
  const unicodePath = Buffer.concat([
    Buffer.from([0x75, 0x70, 9, 0, 1, 0, 0, 0, 0]),
    Buffer.from('../x'),
  ])
  const good = {
    'two entries': rawZip([a, { ...b, deflated: true }]),
    'no entry': rawZip([]),
    'a signed APK': rawZip([a], undefined, 'the signature\0APK Sig Block 42'),
  }
  for (const [name, content] of Object.entries(good)) {
    const reply = await send([archive(content)])
    t.equal(reply.statusCode, 200, `${name}: ${reply.body}`)
  }
  const bad = {
    'another name': rawZip([{ name: 'a.txt', listed: '../../etc/cron.d/x' }]),
    'another harmless name': rawZip([{ name: 'a', listed: 'b' }]),
    'another unpacked size': rawZip([{ ...a, deflated: true, unpacked: 1 }]),
    'another packed size': rawZip([{ ...a, packed: -1, unpacked: -1 }, b]),
    'entries that overlap': rawZip([a, b], () => 0),
    'an entry that is not listed': rawZip([a], undefined, rawZip([b]).toString('latin1')),
    'two entries of one name': rawZip([a, a]),
    'an encrypted entry': rawZip([{ ...a, flags: 1 }]),
    'a symbolic link': rawZip([{ ...a, attributes: 0xa1ed0000 }]),
    'another name in an extra field': rawZip([{ ...a, extra: unicodePath }]),
    'a second end in the comment': Buffer.concat([rawZip([a]), rawZip([b])]),
    'bytes before the first entry': Buffer.concat([rawZip([a]).subarray(0, 33), rawZip([b])]),
  }
  for (const [name, content] of Object.entries(bad)) await refused(name, [archive(content)])
})

await t.test('every archive has the limits, by its content and not by its type', async (t) => {
  const types = [
    'application/gzip',
    'application/vnd.android.package-archive',
    'application/vnd.ms-excel.sheet.macroenabled.12',
  ]
  const { refused, send } = await receiver(t, { types })
  const zeros = Buffer.alloc(20_000_000)
  const bomb = (...first: RawEntry[]) =>
    rawZip([...first, { name: 'z', data: zeros, deflated: true }])
  const sheet = Buffer.from(
    '<Types><Override PartName="/xl/workbook.xml" ContentType="application/vnd.ms-excel.sheet.macroEnabled.main+xml"/></Types>',
  )
  await refused('gzip', [{ filename: 'a.gz', type: types[0]!, content: gzipSync(zeros) }])
  const apk = bomb({ name: 'AndroidManifest.xml' }, { name: 'classes.dex' })
  await refused('APK', [{ filename: 'a.apk', type: types[1]!, content: apk }])
  const macros = bomb({ name: '[Content_Types].xml', data: sheet })
  await refused('macros', [{ filename: 'a.xlsm', type: types[2]!, content: macros }])
  const small = { filename: 'a.gz', type: types[0]!, content: gzipSync('small') }
  t.equal((await send([small])).statusCode, 200)
  await refused('half of a gzip', [{ ...small, content: small.content.subarray(0, 15) }])
})

await t.test('faults of the folder and of rules show no path', async (t) => {
  const directory = '/nonexistent/secret-path'
  const file = { filename: 'a.txt', type: 'text/plain', content: 'hi' }
  for (const [rules, status, code] of [
    [{ types: ['text/plain'], directory }, 503, 'STORAGE_FAILED'],
    [{ types: ['text/plain'], maxFileBytes: '10' as never }, 500, 'INVALID_OPTION'],
    [{ types: ['text/plain'], maxFileBytes: Number.NaN }, 500, 'INVALID_OPTION'],
    [{ types: [] }, 500, 'INVALID_OPTION'],
    [{ types: ['text/plain'], size: 1 } as never, 500, 'INVALID_OPTION'],
  ] as const) {
    const { send, received } = await receiver(t, rules)
    const reply = await send([file])
    t.match(
      [reply.statusCode, reply.json()],
      [status, { code: `PARAPET_INPUT_GUARD_${code}` }],
      reply.body,
    )
    t.notMatch(reply.body, /secret-path/)
    t.same(received, [])
  }
  const { send } = await receiver(t, { types: ['TEXT/Plain'] })
  t.equal((await send([file])).statusCode, 200, 'types are compared without their case')
  await (await receiver(t, { reencode: async () => {} })).refused('nothing was drawn', [png], 503)
})

await t.test('what a killed process left is deleted, what others use is not', async (t) => {
  const { send, directory } = await receiver(t)
  for (const name of ['parapet-upload-old', 'parapet-upload-new', 'other']) {
    mkdirSync(join(directory, name, 'file'), { recursive: true })
  }
  for (const name of ['parapet-upload-old', 'other']) utimesSync(join(directory, name), 1, 1)
  t.equal((await send([png])).statusCode, 200)
  await until(() => readdirSync(directory).length === 2)
  t.same(readdirSync(directory), ['other', 'parapet-upload-new'])
})

await t.test('a process that runs for days deletes what others left once a day', async (t) => {
  const directory = t.testdir({})
  const rules = resolveUploadRules({ types: ['image/png'], directory })
  const lefts: number[] = []
  for (const hours of [0, 23, 25, 26]) {
    mkdirSync(join(directory, `parapet-upload-${hours}`))
    utimesSync(join(directory, `parapet-upload-${hours}`), 1, 1)
    const { discard } = await receiveFiles(
      Readable.from([]),
      rules,
      () => Date.now() + hours * 3_600_000,
    )
    await discard()
    lefts.push(readdirSync(directory).length)
  }
  t.same(lefts, [0, 1, 0, 1])
})

await t.test('a scanner decides, and its failure refuses the file', async (t) => {
  // The timer of a port keeps no process alive.
  const alive = setInterval(() => {}, 1000)
  t.after(() => clearInterval(alive))
  const scanned: string[] = []
  const clean = await receiver(t, {
    scan: async ({ path, type, bytes }) => {
      scanned.push(`${type} ${bytes} ${existsSync(path)}`)
      return 'clean'
    },
  })
  t.equal((await clean.send([png])).statusCode, 200)
  t.same(scanned, [`image/png ${PNG.length} true`])
  await (await receiver(t, { scan: async () => 'infected' })).refused('infected', [png])
  await (
    await receiver(t, { scan: async () => Promise.reject(new Error('down')) })
  ).refused('down', [png], 503)
  await (
    await receiver(t, { scan: () => new Promise(() => {}), portTimeoutMs: 20 })
  ).refused('hangs', [png], 503)
})

await t.test('images are drawn anew by a port, other files are not', async (t) => {
  const rules = {
    types: ['image/png', 'text/csv'],
    maxFiles: 2,
    reencode: async (_file: object, target: string) => {
      await writeFile(target, GIF)
    },
  }
  const { send, received } = await receiver(t, rules)
  const csv = { filename: 'a.csv', type: 'text/csv', content: 'a,b' }
  t.equal((await send([png, csv])).statusCode, 200)
  t.match(received, [{ files: [{ bytes: GIF.length }, { bytes: 3 }] }])
  await (
    await receiver(t, { reencode: async () => Promise.reject(new Error('no image')) })
  ).refused('no image', [png], 503)
})

await t.test('a client that leaves in the middle of a file leaves nothing behind', async (t) => {
  const { app, directory, received } = await receiver(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const body = form([{ ...png, content: Buffer.concat([PNG, Buffer.alloc(100_000)]) }])
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(
    `POST / HTTP/1.1\r\nhost: a\r\ncontent-type: multipart/form-data; boundary=${BOUNDARY}\r\ncontent-length: ${body.length}\r\n\r\n`,
  )
  socket.write(body.subarray(0, 50_000))
  await until(() => readdirSync(directory).length === 1)
  socket.destroy()
  await until(() => readdirSync(directory).length === 0)
  t.same(received, [], 'the handler got no files')
})

await t.test('a client that leaves during the scan leaves nothing behind', async (t) => {
  const scanner = new EventEmitter()
  let scans = 0
  const { app, directory, received } = await receiver(t, {
    scan: async () => {
      scans++
      await once(scanner, 'finish')
      return 'clean'
    },
  })
  let accepted: Socket | undefined
  app.server.on('connection', (each) => void (accepted = each))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const body = form([png])
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(
    `POST / HTTP/1.1\r\nhost: a\r\ncontent-type: multipart/form-data; boundary=${BOUNDARY}\r\ncontent-length: ${body.length}\r\n\r\n`,
  )
  socket.write(body)
  await until(() => scans === 1)
  socket.destroy()
  await once(accepted!, 'close')
  t.equal(readdirSync(directory).length, 1, 'the scanner still reads the file')
  scanner.emit('finish')
  await until(() => readdirSync(directory).length === 0)
  t.same(received, [], 'the handler got no files')
})

await t.test('files that pass after the response are deleted', async (t) => {
  const { app } = await build(t)
  await app.register(multipart)
  const directory = t.testdir({})
  const scanner = new EventEmitter()
  let scans = 0
  const scan = async () => {
    scans++
    await once(scanner, 'finish')
    return 'clean' as const
  }
  let upload: Promise<unknown> = Promise.resolve()
  app.post('/', async (request) => {
    const rules = { types: ['image/png'], directory, scan }
    upload = app.inputGuard.receiveUpload(request, rules)
    upload.catch(() => {})
    await until(() => scans === 1)
    return 'later'
  })
  const reply = await app.inject({
    method: 'POST',
    url: '/',
    headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
    payload: form([png]),
  })
  t.equal(reply.body, 'later')
  scanner.emit('finish')
  await t.rejects(upload, { code: 'PARAPET_INPUT_GUARD_UPLOAD_REFUSED', statusCode: 400 })
  t.same(readdirSync(directory), [])
})

await t.test('without @fastify/multipart an upload says what to install', async (t) => {
  const { app } = await build(t)
  app.post('/', async (request) => app.inputGuard.receiveUpload(request, { types: ['image/png'] }))
  const reply = await app.inject({ method: 'POST', url: '/' })
  t.match([reply.statusCode, reply.json()], [500, { code: 'PARAPET_INPUT_GUARD_MISSING_LIBRARY' }])
})

await t.test('a download is never a page of the site', async (t) => {
  const headers = downloadHeaders('Übersicht "1".pdf', 'application/pdf', { inline: true })
  t.match(headers, {
    'content-disposition': /^attachment; filename="download"; filename\*=UTF-8''download$/,
    'content-type': 'application/pdf',
    'content-security-policy': "sandbox; default-src 'none'",
    'x-content-type-options': 'nosniff',
  })
  t.equal(
    downloadHeaders("naïve (1)'.pdf", 'application/pdf')['content-disposition'],
    "attachment; filename=\"na_ve (1)'.pdf\"; filename*=UTF-8''na%C3%AFve%20%281%29%27.pdf",
  )
  for (const type of ['image/svg+xml', 'text/html', 'application/xhtml+xml', 'text/xml']) {
    t.match(
      downloadHeaders('a', type, { inline: true })['content-disposition'],
      /^attachment/,
      type,
    )
  }
  t.match(downloadHeaders('a.png', 'image/png', { inline: true })['content-disposition'], /^inline/)
  t.match(downloadHeaders('a\r\nset-cookie: x', 'text/html\r\nx: y'), {
    'content-disposition': /filename="download"/,
    'content-type': 'application/octet-stream',
  })
})
