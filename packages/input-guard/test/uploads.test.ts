import { existsSync, readdirSync } from 'node:fs'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import multipart from '@fastify/multipart'
import { downloadHeaders, type UploadRules } from '@parapet/input-guard'
import { strToU8, zipSync } from 'fflate'
import t, { type Test } from 'tap'
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

await t.test('archives that unpack to too much are refused while they arrive', async (t) => {
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
