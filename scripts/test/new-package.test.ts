import { plainCommand, plainNode } from '@parapet/testing'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { format, type FormatConfig } from 'oxfmt'
import t, { type Test } from 'tap'
import { findBreaches, formatBreach } from '../import-law.ts'
import { createPackage } from '../new-package.ts'
import { workspaceRoot } from '../workspace.ts'

/** A workspace of its own: what a package imports is linked, what the generator writes to is copied. */
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

/** Runs a program without tap's environment, so that inner tests do not report to this run. */
function run(cwd: string, program: string, args: readonly string[]) {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^_?TAP/.test(name)),
  )
  const [file, plainArgs] = plainCommand(program, args)
  const { status, stdout, stderr } = spawnSync(file, plainArgs, { cwd, env, encoding: 'utf8' })
  return { status, output: `${stdout}${stderr}` }
}

await t.test('a new package passes types, lint, the import law and its own tests', async (t) => {
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
      'requestBudgetsGuard',
      'docs/reference/request-budgets.md',
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
      'src/http/guard.ts',
      'src/index.ts',
      'src/options.ts',
      'src/rule.ts',
      'test/consumer/cjs.cjs',
      'test/consumer/esm.mjs',
      'test/consumer/types.ts',
      'test/docs.test.ts',
      'test/guard.test.ts',
      'test/security.test.ts',
      'tsconfig.build.json',
    ])
  })

  await t.test('it is published, built and announced', async (t) => {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as object
    t.match(manifest, { description: promise, publishConfig: { access: 'public' } })
    t.notOk('private' in manifest)
    t.match(manifest, {
      homepage: /\/tree\/main\/packages\/request-budgets#readme$/,
      repository: { directory: 'packages/request-budgets' },
    })
    const build = readFileSync(join(root, 'tsconfig.build.json'), 'utf8')
    t.match(build, '\n    { "path": "packages/request-budgets/tsconfig.build.json" },\n')
    const changeset = readFileSync(join(root, '.changeset/request-budgets.md'), 'utf8')
    t.equal(changeset, `---\n'@parapet/request-budgets': minor\n---\n\n${promise}.\n`)
    t.ok(readFileSync(join(folder, 'README.md'), 'utf8').includes(`\n${promise}.\n`))
    t.match(steps.join('\n'), "pnpm unit 'packages/request-budgets/test/**'")
  })

  await t.test('it compiles, is linted and is formatted', async (t) => {
    const links = join(workspaceRoot, 'templates/plugin/node_modules')
    symlinkSync(links, join(folder, 'node_modules'))
    const project = join(folder, 'tsconfig.check.json')
    const options = { extends: '../../tsconfig.json', include: ['src', 'test', 'bench'] }
    const compilerOptions = { incremental: false, tsBuildInfoFile: null }
    writeFileSync(project, JSON.stringify({ ...options, compilerOptions }))
    const compiled = run(root, join(root, 'node_modules/.bin/tsc'), ['-p', project])
    t.same(compiled, { status: 0, output: '' })
    // The linter reads the nearest tsconfig.json for its rules with types.
    renameSync(project, join(folder, 'tsconfig.json'))
    const config = join(root, '.oxlintrc.json')
    const lint = ['-c', config, '--type-aware', '--deny-warnings', 'src', 'test', 'bench']
    const linted = run(folder, join(root, 'node_modules/.bin/oxlint'), lint)
    t.equal(linted.status, 0, linted.output)
    t.match(linted.output, /on 1\d files/, 'it looked at the files')
    rmSync(join(folder, 'tsconfig.json'))
    const settings = JSON.parse(readFileSync(join(root, '.oxfmtrc.json'), 'utf8')) as FormatConfig
    for (const [path, text] of files.filter(([path]) => path.endsWith('.ts'))) {
      t.equal((await format(path, text, settings)).code, text, path)
    }
  })

  await t.test('it keeps the import law', async (t) => {
    const kit = readFileSync(join(workspaceRoot, 'packages/kit/package.json'), 'utf8')
    const tree = files.map(([path, text]): [string, string] => [
      `packages/request-budgets/${path}`,
      text,
    ])
    const sources = tree.filter(([path]) => /\.[cm]?[jt]s$|package\.json$/.test(path))
    const breaches = findBreaches(new Map([['packages/kit/package.json', kit], ...sources]))
    t.same(breaches.map(formatBreach), [])
  })

  for (const file of files.flatMap(([path]) => (path.endsWith('.test.ts') ? [path] : []))) {
    await t.test(`its ${file} passes`, async (t) => {
      const { status, output } = run(root, ...plainNode([join(folder, file)]))
      t.equal(status, 0, 'exit code', { output })
      t.match(output, /# \{ total: \d+, pass: \d+ \}/)
    })
  }
})

await t.test('an invalid name or promise is refused, and nothing is written', async (t) => {
  const root = createWorkspace(t)
  const promise = 'Holds a budget of requests'
  const refused: readonly [name: string, promise: string, message: RegExp][] = [
    ['', promise, /must be a noun in lower case/],
    ['RateLimits', promise, /must be a noun in lower case/],
    ['rate--limits', promise, /must be a noun in lower case/],
    ['../rate-limits', promise, /must be a noun in lower case/],
    ['rate-2', promise, /must be a noun in lower case/],
    ['mail-templates', promise, /must not contain "template"/],
    ['class', promise, /must not be a reserved word/],
    ['kit', promise, /packages\/kit exists already/],
    ['budgets', '', /the promise must be one line/],
    ['budgets', 'Ends with a full stop.', /the promise must be one line/],
    ['budgets', 'x'.repeat(96), /the promise must be one line/],
    ['budgets', 'Two lines\nof promise', /the promise must be one line/],
    ['budgets', 'Closes the comment */ early', /the promise must be one line/],
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
})

await t.test('the command prints how to use it', async (t) => {
  const [file, args] = plainNode([join(workspaceRoot, 'scripts/new-package.ts'), 'kit'])
  const { status, output } = run(workspaceRoot, file, args)
  t.equal(status, 1)
  t.match(output, /^packages\/kit exists already\nusage: pnpm new <name>/)
})
