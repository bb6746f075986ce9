import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { createLocalCipher, generateCipherKey, parseCipherKeys, systemClock } from '@parapet/kit'
import { plainNode, runs } from '@parapet/testing'
import t, { type Test } from 'tap'
import { writeArchive } from '../src/export/archive.ts'
import { createMemoryParts } from '../src/export/archive-parts.ts'
import { collectSource, noProgress } from '../src/export/collect.ts'
import { writeCsvRow } from '../src/export/csv.ts'
import type { SourceProgress } from '../src/requests/request.ts'
import { SourceRegistry } from '../src/sources/registry.ts'
import {
  createApp,
  createTable,
  DAY,
  fresh,
  openConfirmed,
  post,
  runTick,
  sorted,
  waitFor,
} from './helpers.ts'

await t.test('an archive opens with unzip, and its manifest verifies', async (t) => {
  const app = await createApp(t)
  app.tables.users.rows.set('ann', [
    { email: 'ann@acme.example', note: '=1+1', tags: ['<b>x</b>', 'y'] },
    { email: 'ann@acme.example', note: null, extra: 'ünï' },
  ])
  const id = await openConfirmed(app, 'ann', 'access')
  await app.until(id, 'ready')
  t.match(app.events.at(-1), { type: 'privacy.exported', details: { request: id, sources: 3 } })
  const { link } = await makeLink(app, id)
  const sent = await app.send(null, post('/privacy/archives', { link }))
  t.equal(sent.status, 200)
  t.match(sent.headers, { 'content-type': 'application/zip', 'cache-control': 'no-store' })
  const folder = unzip(t, sent.raw)
  const manifest = await checkManifest(t, folder)
  t.match(manifest, { format: 'parapet-privacy-archive', version: 1, request: id, type: 'access' })
  const csv = readFileSync(join(folder, 'data/users.csv'), 'utf8')
  t.match(csv, /^\ufeffemail,note,tags,extra\r\n/)
  t.match(csv, `"'=1+1"`, 'a formula is defused')
  const lines = readFileSync(join(folder, 'data/users.ndjson'), 'utf8').trim().split('\n')
  t.same(
    lines.map((line) => JSON.parse(line) as unknown),
    app.tables.users.rows.get('ann'),
  )
  const page = readFileSync(join(folder, 'index.html'), 'utf8')
  t.match(page, '&lt;b&gt;x&lt;/b&gt;')
  t.notMatch(page, /<b>|<script/)
})

await t.test('a link works once, and a new one replaces it', async (t) => {
  const app = await createApp(t)
  const id = await openConfirmed(app, 'ann', 'access')
  const early = await app.send('ann', post(`/privacy/requests/${id}/link`, undefined, fresh))
  t.match(early, { status: early.status === 201 ? 201 : 409 })
  await app.until(id, 'ready')
  const refused = await app.send('bob', post(`/privacy/requests/${id}/link`, undefined, fresh))
  t.match(refused, { status: 404, body: { code: 'PARAPET_PRIVACY_NOT_FOUND' } })
  const unproved = await app.send('ann', post(`/privacy/requests/${id}/link`))
  t.match(unproved, { status: 403, body: { code: 'PARAPET_PRIVACY_STEP_UP_REQUIRED' } })
  const first = await makeLink(app, id)
  const second = await makeLink(app, id)
  const open = (link: string) => app.send(null, post('/privacy/archives', { link }))
  t.match(await open(first.link), { status: 404, body: { code: 'PARAPET_PRIVACY_NOT_FOUND' } })
  const answers = await Promise.all([open(second.link), open(second.link)])
  t.same(sorted(answers), [200, 410])
  t.match(await open(second.link), { status: 410, body: { code: 'PARAPET_PRIVACY_LINK_USED' } })
})

await t.test('an archive expires after a week, and its parts are deleted', async (t) => {
  const parts = createMemoryParts()
  const removed: string[] = []
  const removeAll = async (request: string) => {
    removed.push(request)
    await parts.removeAll(request)
  }
  const app = await createApp(t, { archives: { ...parts, removeAll } })
  app.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const id = await openConfirmed(app, 'ann', 'access')
  await app.until(id, 'ready')
  const stored = await parts.read({ request: id, source: 'users', part: 0 })
  t.match(stored, /^pe1\./, 'it is encrypted at rest')
  t.notMatch(stored, /acme/)
  const { link } = await makeLink(app, id)
  app.clock.advance(7 * DAY)
  const expired = await app.send(null, post('/privacy/archives', { link }))
  t.match(expired, { status: 410, body: { code: 'PARAPET_PRIVACY_ARCHIVE_EXPIRED' } })
  await runTick(app)
  t.same(removed, [id])
  t.equal((await app.app.privacy.findRequest(id))!.state, 'completed')
})

await t.test('portability leaves out what is not processed by consent or contract', async (t) => {
  const [users, logs] = [
    createTable('users'),
    createTable('logs', { legalBasis: 'legitimate-interests' }),
  ]
  const app = await createApp(t, { sources: [users.source, logs.source] })
  const id = await openConfirmed(app, 'ann', 'portability')
  await app.until(id, 'ready')
  const names = (await app.app.privacy.findRequest(id))!.archive!.sources.map(({ name }) => name)
  t.same(names, ['users'])
})

await t.test(
  'a collection that fails is tried again, and one that hangs is given up',
  async (t) => {
    let attempts = 0
    const users = createTable('users', {
      async *collect() {
        attempts += 1
        if (attempts === 1) throw new Error('away')
        if (attempts === 2) await new Promise(() => undefined)
        yield { email: 'ann@acme.example' }
      },
    })
    const app = await createApp(t, { sources: [users.source], partDeadlineMs: 5000 })
    const id = await openConfirmed(app, 'ann', 'access')
    await waitFor(async () => {
      app.clock.advance(1000)
      return (await app.app.privacy.findRequest(id))!.state === 'ready'
    })
    t.equal(attempts, 3)
  },
)

await t.test('a collection goes on behind the last part that was stored', async (t) => {
  const asked: (string | undefined)[] = []
  const all = Array.from({ length: 40 }, (_, index) => ({ n: index, text: 'x'.repeat(100_000) }))
  const { source } = createTable('big', {
    cursorOf: ({ n }) => String(Number(n)),
    *collect(_subject, { after }) {
      asked.push(after)
      for (const row of all) {
        if (after === undefined || row.n > Number(after)) yield row
      }
    },
  })
  const registry = new SourceRegistry()
  registry.register(source)
  const [registered] = registry.all
  const parts = createMemoryParts()
  const ports = {
    parts,
    cipher: createLocalCipher(parseCipherKeys(generateCipherKey())),
    clock: systemClock,
    deadlineMs: 5000,
  }
  let progress: SourceProgress = noProgress('big')
  let rounds = 0
  while (!progress.isComplete) {
    const { signal } = new AbortController()
    // Each attempt is killed after its first part.
    const save = async (next: SourceProgress) => {
      progress = next
      return false
    }
    await collectSource(ports, {
      request: 'r',
      subject: 's',
      source: registered!,
      progress,
      signal,
      save,
    })
    rounds += 1
  }
  t.equal(progress.records, 40)
  t.ok(rounds >= 4)
  t.same(asked.slice(0, 2), [undefined, '2'])
  const content = {
    request: 'r',
    type: 'access',
    controller: 'Acme',
    createdAt: 1.7e12,
    sources: [{ progress, source: registered }],
  }
  const chunks: Buffer[] = []
  for await (const chunk of writeArchive(ports, content)) chunks.push(chunk as Buffer)
  const folder = unzip(t, Buffer.concat(chunks))
  const lines = readFileSync(join(folder, 'data/big.ndjson'), 'utf8').trim().split('\n')
  t.same(
    lines.map((line) => (JSON.parse(line) as { n: number }).n),
    all.map(({ n }) => n),
  )
})

await t.test('a missing part fails the download instead of shortening it', async (t) => {
  const app = await createApp(t, { archives: { ...createMemoryParts(), read: async () => null } })
  app.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const id = await openConfirmed(app, 'ann', 'access')
  await app.until(id, 'ready')
  const { link } = await makeLink(app, id)
  await t.rejects(app.send(null, post('/privacy/archives', { link })))
})

await t.test('cells that spreadsheets take for formulas are defused', (t) => {
  for (const text of ['=1', '+1', '-1', '@a', '|x', '%x', '\t=1', ' =1', '\r=1', '＝1', '＋1']) {
    t.match(writeCsvRow([text]), /^"'/, JSON.stringify(text))
  }
  t.equal(
    writeCsvRow([-1.5, true, null, 'plain', 'a,b', 'a"b', { a: 1 }]).trimEnd(),
    '-1.5,true,,plain,"a,b","a""b","{""a"":1}"',
  )
  t.end()
})

await t.test('a large archive streams in little memory and is resumed after a kill', async (t) => {
  // 1 GB under `pnpm soak`.
  const megabytes = runs(24, 1024)
  const folder = temporaryFolder(t)
  const program = new URL('large-archive.ts', import.meta.url)
  const [command, args] = plainNode(['--max-old-space-size=48', fileURLToPath(program)])
  const start = (step: string) =>
    spawn(command, [...args, step, folder, String(megabytes)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  const killed = start('collect')
  const exited = once(killed, 'exit')
  // Each line is a part whose progress is recorded; the kill comes between any two calls.
  let parts = 0
  for await (const chunk of killed.stdout) {
    parts += String(chunk).split('\n').length - 1
    if (parts > megabytes * 2) killed.kill('SIGKILL')
  }
  t.same(await exited, [null, 'SIGKILL'])
  for (const step of ['collect', 'pack']) {
    const child = start(step)
    const [output, end] = await Promise.all([text(child.stdout), once(child, 'exit')])
    t.same(end, [0, null], step)
    const used = Number(/used (\d+)/.exec(output)?.[1])
    t.ok(used <= 64, `${step}: ${megabytes} MB need ${used} MB of memory`)
    t.comment(`${step}: ${megabytes} MB, ${output.trim().split('\n').at(-1)}`)
  }
  const path = join(folder, 'archive.zip')
  execFileSync('unzip', ['-q', path, '-d', join(folder, 'out')])
  await checkManifest(t, join(folder, 'out'))
  let line = 0
  for await (const record of createInterface({
    input: createReadStream(join(folder, 'out/data/events.ndjson')),
  })) {
    if ((JSON.parse(record) as { n: number }).n !== line++)
      t.fail(`the record ${line} is another one`)
  }
  t.equal(line, megabytes * 1024, 'every record once, in order')
})

function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'parapet-privacy-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function makeLink(app: Awaited<ReturnType<typeof createApp>>, id: string) {
  return (await app.send('ann', post(`/privacy/requests/${id}/link`, undefined, fresh))).body
}

/** @returns the folder with the files. */
function unzip(t: Test, archive: Buffer): string {
  const folder = temporaryFolder(t)
  const path = join(folder, 'archive.zip')
  writeFileSync(path, archive)
  execFileSync('unzip', ['-q', path, '-d', join(folder, 'out')])
  return join(folder, 'out')
}

async function checkManifest(t: Test, folder: string): Promise<object> {
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as {
    readonly files: readonly { path: string; bytes: number; sha256: string }[]
  }
  t.ok(manifest.files.length > 0)
  for (const { path, bytes, sha256 } of manifest.files) {
    const hash = createHash('sha256')
    let length = 0
    for await (const chunk of createReadStream(join(folder, path))) {
      hash.update(chunk as Buffer)
      length += (chunk as Buffer).length
    }
    t.equal(length, bytes, path)
    t.equal(hash.digest('hex'), sha256, path)
  }
  return manifest
}
