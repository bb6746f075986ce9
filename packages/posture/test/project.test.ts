/** What is read from the folder of a project. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { readReport } from '../src/source/audit-dependencies.ts'
import { findProject, readProject, scanProject } from '../src/source/project.ts'
import { check, create, lineOf } from './helpers.ts'

/** A folder that is the root of its repository. */
function createProject(t: Test, files: Readonly<Record<string, string>>): string {
  const root = t.testdir({ '.git': {}, 'package.json': '{ "name": "app" }' })
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    writeFileSync(join(root, name), text)
  }
  return root
}

await t.test('a lockfile is found here or at the root of the repository', async (t) => {
  const root = createProject(t, { 'apps/a/package.json': '{}' })
  const inner = join(root, 'apps/a')
  t.equal((await readProject(inner, undefined)).lockfile, undefined)
  writeFileSync(join(root, 'pnpm-lock.yaml'), '')
  t.equal((await readProject(inner, undefined)).lockfile, 'pnpm-lock.yaml')
  t.equal(findProject(join(inner, 'src/deep')), inner)
})

await t.test('loose ranges and foreign sources of dependencies are listed', async (t) => {
  const dependencies = {
    a: '*',
    b: 'latest',
    c: '>=1.0.0',
    d: 'http://example.com/d.tgz',
    e: 'github:someone/e',
    f: 'git+https://example.com/f.git#main',
    fine1: '^1.2.3',
    fine2: '~1.2',
    fine3: '1.2.3',
    fine4: '>=1.0.0 <2.0.0',
    fine5: 'workspace:*',
    fine6: 'catalog:',
    fine7: `github:someone/x#${'a'.repeat(40)}`,
  }
  const root = createProject(t, { 'package.json': JSON.stringify({ dependencies }) })
  const { looseRanges } = await readProject(root, undefined)
  t.same(
    looseRanges.map((each) => each[0]),
    ['a', 'b', 'c', 'd', 'e', 'f'],
  )
})

await t.test('files with secrets that are not ignored are listed', async (t) => {
  const key = `-----BEGIN PRIVATE KEY-----\n${'MC4CAQAwBQYDK2VwBCIEIA'.repeat(3)}\n-----END PRIVATE KEY-----\n`
  const files = {
    '.env': 'DB_PASSWORD=x1y2z3\n',
    '.env.example': 'DB_PASSWORD=changeme\n',
    '.env.local': 'LEVEL=info\n',
    'server.pem': key,
    'ca.pem': '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
  }
  const root = createProject(t, files)
  t.same((await readProject(root, undefined)).secretFiles, ['.env', 'server.pem'])
  writeFileSync(join(root, '.gitignore'), '# secrets\n.env\n*.pem\n')
  t.same((await readProject(root, undefined)).secretFiles, [])
})

await t.test('documents on incidents, backups and contacts are named', async (t) => {
  const root = createProject(t, {
    'SECURITY.md': '',
    'docs/incident-plan.md': '',
    'docs/backup.md': '',
    'docs/api.md': '',
  })
  const { documents } = await readProject(root, undefined)
  t.same(documents, ['SECURITY.md', 'docs/backup.md', 'docs/incident-plan.md'])
  const report = await check(create(t), { project: root })
  t.match(lineOf(report, 'INC-01'), { status: 'manual', evidence: /read docs\/incident-plan\.md/ })
  t.match(lineOf(report, 'INC-02'), { status: 'pass', evidence: 'SECURITY.md' })
  t.match(lineOf(report, 'BCK-01').evidence, /docs\/backup\.md/)
  t.match(lineOf(report, 'DEP-01'), { status: 'fail' })
})

await t.test('sources are scanned, tests and builds are not', async (t) => {
  const bad = "const apiKey = 'q8Zr-771-xk'\n"
  const root = createProject(t, {
    'src/a.ts': `const x: string = ''\n${bad}`,
    'src/b.cts': bad,
    'src/a.test.ts': bad,
    'test/c.js': bad,
    'dist/d.js': bad,
    'node_modules/e/index.js': bad,
    'src/broken.js': 'const = 1',
    'src/types.d.ts': 'declare const a: 1',
  })
  const { hits, files, skipped } = await scanProject(root)
  t.same(
    hits.map(({ place }) => place),
    ['src/a.ts:2', 'src/b.cts:1'],
  )
  t.equal(files, 3)
  t.same(skipped, ['src/broken.js'])
})

await t.test('reports of npm and pnpm are read, and failures are no pass', async (t) => {
  const npm = JSON.stringify({
    vulnerabilities: { a: { severity: 'high' }, b: { severity: 'low' } },
  })
  t.same(readReport(npm, ''), { vulnerable: ['a: high'] })
  const pnpm = JSON.stringify({ advisories: { 1: { module_name: 'c', severity: 'critical' } } })
  t.same(readReport(pnpm, ''), { vulnerable: ['c: critical'] })
  t.match(readReport('', 'no network\nmore'), { failure: 'no network' })
  t.match(readReport('{"error":{"summary":"offline"}}', 'x'), { failure: 'offline' })
})
