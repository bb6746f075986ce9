import { plainCommand, plainNode } from '@parapet/testing'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { format, type FormatConfig } from 'oxfmt'
import t, { type Test } from 'tap'
import { createPackage } from '../new-package.ts'
import { workspaceRoot } from '../workspace.ts'

/** A workspace of its own: what a package leans on is linked, what the generator writes to is copied. */
function createWorkspace(t: Test): string {
  const root = mkdtempSync(join(tmpdir(), 'parapet-new-'))
  t.after(() => rmSync(root, { recursive: true }))
  for (const name of ['packages', '.changeset']) mkdirSync(join(root, name))
  for (const name of ['node_modules', 'scripts', 'templates', 'packages/kit', 'packages/testing']) {
    symlinkSync(join(workspaceRoot, name), join(root, name))
  }
  for (const name of readdirSync(workspaceRoot)) {
    if (/^(?:tsconfig.*|package|\.ox.*)\.json$/.test(name)) {
      cpSync(join(workspaceRoot, name), join(root, name))
    }
  }
  return root
}

function readFolder(folder: string): [path: string, text: string][] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => [path.slice(folder.length + 1), readFileSync(path, 'utf8')])
}

/** Runs a program as a stranger would: what is tested here must not report to this run. */
function run(cwd: string, program: string, args: readonly string[]) {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^_?TAP/.test(name)),
  )
  const [file, plainArgs] = plainCommand(program, args)
  const { status, stdout, stderr } = spawnSync(file, plainArgs, { cwd, env, encoding: 'utf8' })
  return { status, output: `${stdout}${stderr}` }
}

await t.test('a new package compiles, is formatted, and passes its own tests', async (t) => {
  const root = createWorkspace(t)
  const promise = 'Holds a "budget" of requests for $& each tenant'
  const steps = await createPackage({ root, name: 'request-budgets', promise })
  const folder = join(root, 'packages/request-budgets')
  const files = readFolder(folder)

  await t.test('no name of the template is left', async (t) => {
    const left = files.filter(([path, text]) => /template/i.test(path + text))
    t.same(
      left.map(([path]) => path),
      [],
    )
    const text = files.map(([, text]) => text).join('\n')
    for (const name of [
      '@parapet/request-budgets',
      'PARAPET_REQUEST_BUDGETS_CLOSED',
      'request_budgets.refused',
      'app.requestBudgets',
      'RequestBudgetsOptions',
      './request-budgets.ts',
      'requestBudgetsDecide',
    ]) {
      t.ok(text.includes(name), name)
    }
    t.notMatch(text, /requestBudgets\.refused|Request-Budgets|request-budgets\.refused/)
  })

  await t.test('every file of the anatomy is there', async (t) => {
    t.strictSame(files.map(([path]) => path).toSorted(), [
      'README.md',
      'bench/request-budgets.ts',
      'package.json',
      'src/errors.ts',
      'src/events.ts',
      'src/index.ts',
      'src/options.ts',
      'src/request-budgets.ts',
      'test/consumer/cjs.cjs',
      'test/consumer/esm.mjs',
      'test/consumer/types.ts',
      'test/docs.test.ts',
      'test/request-budgets.test.ts',
      'test/security.test.ts',
      'tsconfig.build.json',
    ])
  })

  await t.test('it is published, built and announced', async (t) => {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as object
    t.match(manifest, { description: promise, publishConfig: { access: 'public' } })
    t.notOk('private' in manifest)
    const build = readFileSync(join(root, 'tsconfig.build.json'), 'utf8')
    t.match(build, '\n    { "path": "packages/request-budgets/tsconfig.build.json" },\n')
    const changeset = readFileSync(join(root, '.changeset/request-budgets.md'), 'utf8')
    t.equal(changeset, `---\n'@parapet/request-budgets': minor\n---\n\n${promise}.\n`)
    t.ok(readFileSync(join(folder, 'README.md'), 'utf8').includes(`\n${promise}.\n`))
    t.match(steps.join('\n'), "pnpm unit 'packages/request-budgets/test/**'")
  })

  await t.test('it compiles and is formatted', async (t) => {
    const links = join(workspaceRoot, 'templates/plugin/node_modules')
    symlinkSync(links, join(folder, 'node_modules'))
    const project = join(folder, 'tsconfig.check.json')
    const options = { extends: '../../tsconfig.json', include: ['src', 'test', 'bench'] }
    const compilerOptions = { incremental: false, tsBuildInfoFile: null }
    writeFileSync(project, JSON.stringify({ ...options, compilerOptions }))
    const compiled = run(root, join(root, 'node_modules/.bin/tsc'), ['-p', project])
    t.same(compiled, { status: 0, output: '' })
    rmSync(project)
    const settings = JSON.parse(readFileSync(join(root, '.oxfmtrc.json'), 'utf8')) as FormatConfig
    for (const [path, text] of files.filter(([path]) => path.endsWith('.ts'))) {
      t.equal((await format(path, text, settings)).code, text, path)
    }
  })

  for (const file of files.flatMap(([path]) => (path.endsWith('.test.ts') ? [path] : []))) {
    await t.test(`its ${file} passes`, async (t) => {
      const { status, output } = run(root, ...plainNode([join(folder, file)]))
      t.equal(status, 0, 'exit code', { output })
      t.match(output, /# \{ total: \d+, pass: \d+ \}/)
    })
  }
})

await t.test(
  'a name or a promise that will not do is refused, and nothing is written',
  async (t) => {
    const root = createWorkspace(t)
    const promise = 'Holds a budget of requests'
    const refused: readonly [name: string, promise: string, message: RegExp][] = [
      ['', promise, /is no name for a package/],
      ['RateLimits', promise, /is no name for a package/],
      ['rate--limits', promise, /is no name for a package/],
      ['../rate-limits', promise, /is no name for a package/],
      ['rate-2', promise, /is no name for a package/],
      ['mail-templates', promise, /"template", the very word/],
      ['class', promise, /is a word of the language/],
      ['kit', promise, /packages\/kit exists already/],
      ['budgets', '', /the promise is one line/],
      ['budgets', 'Ends with a full stop.', /the promise is one line/],
      ['budgets', 'Two lines\nof promise', /the promise is one line/],
      ['budgets', 'Closes the comment */ early', /the promise is one line/],
    ]
    for (const [name, promise, message] of refused) {
      await t.rejects(
        () => createPackage({ root, name, promise }),
        { name: 'RefusedError', message },
        `${name}: ${promise}`,
      )
    }
    t.same(readdirSync(join(root, '.changeset')), [])
    t.notOk(existsSync(join(root, 'packages/budgets')))
  },
)

await t.test('the command explains itself', async (t) => {
  const [file, args] = plainNode([join(workspaceRoot, 'scripts/new-package.ts'), 'kit'])
  const { status, output } = run(workspaceRoot, file, args)
  t.equal(status, 1)
  t.match(output, /^packages\/kit exists already\nusage: pnpm new <name>/)
})
