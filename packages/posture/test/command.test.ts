/** The command as a process: files of every style, formats, exit statuses, and the log of the app beside it. */
import { plainNode } from '@parapet/testing'
import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Report } from '@parapet/posture'
import { readArguments } from '../src/command/arguments.ts'
import { createProgressLine } from '../src/command/progress.ts'

const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url))
const apps = fileURLToPath(new URL('apps/', import.meta.url))

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs the command to its end. */
function run(args: readonly string[], cwd = apps): Promise<Ended> {
  const [program, given] = plainNode([cli, ...args])
  return new Promise((resolve) => {
    const child = spawn(program, given, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    const text = { out: '', err: '' }
    child.stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()))
    child.once('close', (code) => resolve({ code, ...text }))
  })
}

/** Files that need no package beside them. */
function createEntries(t: Test, files: Readonly<Record<string, string>>): string {
  const folder = t.testdir({ 'package.json': '{ "name": "app", "private": true }' })
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return folder
}

await t.test(
  'a plugin in the style of fastify-cli is checked, and its failures end with status 1',
  async (t) => {
    const { code, out, err } = await run(['crud/app.js'])
    t.equal(code, 1, err)
    t.match(out, /^Posture of crud\/app.js\n/)
    t.match(out, /✗ FAIL {3}AUT-01/)
    t.match(out, /DELETE \/notes\/:id/)
  },
)

await t.test(
  'a script that listens gets another port, and its log does not mix with the report',
  async (t) => {
    const { code, out } = await run(['faulty/server.js', '--format', 'json'])
    t.equal(code, 1)
    const report = JSON.parse(out) as Report
    t.equal(report.tool, '@parapet/posture')
    t.equal(report.target, 'faulty/server.js')
    t.ok(report.lines.some(({ id, status }) => id === 'INJ-01' && status === 'fail'))
  },
)

await t.test('a baseline ends new failures, and formats are written to files', async (t) => {
  const folder = t.testdir()
  const baseline = join(folder, 'posture.json')
  const sarif = join(folder, 'posture.sarif')
  const first = await run(['guarded/app.js', '--baseline', baseline, '--update-baseline'])
  t.equal(first.code, 0, first.err)
  const second = await run([
    'guarded/app.js',
    '--baseline',
    baseline,
    '--format',
    'sarif',
    '--output',
    sarif,
  ])
  t.equal(second.code, 0, second.err)
  t.match(second.out, /No new failure\./)
  t.match(JSON.parse(readFileSync(sarif, 'utf8')), { version: '2.1.0' })
})

await t.test(
  'a file without an app, a missing file and wrong arguments end with status 2',
  async (t) => {
    const folder = createEntries(t, {
      'empty.mjs': 'export const a = 1',
      'broken.mjs': 'throw new Error("no database")',
      'exits.mjs': 'process.exit(1)',
      'exits-well.mjs': 'process.exit(0)',
    })
    const cases: readonly [string[], RegExp][] = [
      [['empty.mjs'], /No Fastify app was found in .*empty\.mjs/],
      [['broken.mjs'], /no database/],
      [['exits.mjs'], /the app ended the process \(status 1\).*--logs shows why/],
      [['exits-well.mjs'], /the app ended the process \(status 0\)/],
      [['missing.mjs'], /missing\.mjs/],
      [['a.js', '--format', 'html'], /--format must be table, json, sarif or junit/],
      [[], /give one file or one address/],
      [['a.js', '--update-baseline'], /--update-baseline needs --baseline/],
      [['a.js', '--bogus'], /bogus/],
    ]
    for (const [args, message] of cases) {
      const { code, out, err } = await run(args, folder)
      t.equal(code, 2, args.join(' '))
      t.match(err, message)
      t.equal(out, '')
    }
  },
)

await t.test('a route that ends the process is among those that are named', async (t) => {
  const folder = createEntries(t, {
    'app.mjs':
      "export default async function (app) { app.get('/quit', async () => process.exit(0)) }",
  })
  const { code, err } = await run(['app.mjs'], folder)
  t.equal(code, 2)
  t.match(err, /the last routes asked were GET \/quit; see --skip/)
  t.match(err, /the app ended the process \(status 0\)/)
})

await t.test('the checklist and the help are printed', async (t) => {
  const { code, out } = await run(['--checklist'])
  t.equal(code, 0)
  t.match(out, /^# The pre-production checklist\n/)
  t.match(
    (await run(['--help'])).out,
    /Without --active it sends GET, HEAD, OPTIONS and TRACE only/,
  )
})

await t.test('a running app is checked by its address', async (t) => {
  const seen = new Set<string>()
  const server = createServer((request, response) => {
    seen.add(request.method ?? '')
    response.setHeader('x-powered-by', 'PHP/5')
    response.setHeader('content-type', 'application/json; charset=utf-8')
    if (request.url === '/openapi.json') {
      response.end(
        JSON.stringify({ openapi: '3.1.0', paths: { '/users/{id}': { get: {}, delete: {} } } }),
      )
    } else response.end('{}')
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const { code, out, err } = await run([
    `http://127.0.0.1:${port}`,
    '--format',
    'json',
    '--path',
    '/news',
  ])
  t.equal(code, 1, err)
  const report = JSON.parse(out) as Report
  const find = (id: string) => report.lines.find((line) => line.id === id)
  t.match(find('HDR-06'), { status: 'fail', findings: [{ evidence: 'x-powered-by: PHP/5' }] })
  t.equal(find('VAL-01')?.status, 'manual', 'schemas are not seen')
  t.ok(find('AUT-02')?.findings.some(({ where }) => where === 'GET /users/:id'))
  t.same(
    [...seen].filter((method) => !['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(method)),
    [],
  )
  server.closeAllConnections()

  const gone = await run(['http://127.0.0.1:1'])
  t.equal(gone.code, 2)
  t.match(gone.err, /There is no answer from http:\/\/127\.0\.0\.1:1/)
})

await t.test('arguments become options', async (t) => {
  const { options, paths, rolesFile } = readArguments([
    'app.js',
    '--public',
    'GET /a',
    '--public',
    '/b/*',
    '--header',
    'X-A: b: c',
    '--deadline-ms',
    '500',
    '--roles',
    'roles.json',
    '--path',
    '/x',
    '--active',
  ])
  t.same(options, {
    public: ['GET /a', '/b/*'],
    headers: { 'x-a': 'b: c' },
    deadlineMs: 500,
    active: true,
  })
  t.same([paths, rolesFile], [['/x'], 'roles.json'])
  t.throws(() => readArguments(['a', '--deadline-ms', 'soon']), /must be a number of milliseconds/)
  t.throws(() => readArguments(['a', '--header', 'x']), /"NAME: VALUE"/)
})

await t.test('progress is one line on a terminal, and nothing elsewhere', async (t) => {
  const written: string[] = []
  const write = (text: string) => written.push(text)
  const line = createProgressLine({ isTTY: true, columns: 60, write })
  line.show({ step: 'routes', done: 1, all: 2, name: 'GET /a\n' })
  line.clear()
  t.equal(written[0], `\r\u001B[2K${'█'.repeat(12)}${'░'.repeat(12)} routes 1/2 GET /a `)
  t.equal(written.length, 2)
  createProgressLine({ write }).show({ step: 'lines', done: 1, all: 2, name: 'x' })
  t.equal(written.length, 2)
})
