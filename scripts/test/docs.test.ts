import { plainNode } from '@parapet/testing'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  findDrift,
  findMissingTexts,
  renderErrors,
  renderPages,
  renderReference,
  writePages,
  type PackageSource,
} from '../docs.ts'
import { createApp, listReferenceRoutes, listRoutes } from '../reference-routes.ts'
import { workspaceRoot } from '../workspace.ts'

const template = join(workspaceRoot, 'templates/plugin')

interface TestApp {
  register(plugin: (child: TestApp) => Promise<void>, options: object): Promise<void>
  get(path: string, options: object, handler: () => Promise<object>): void
  route(options: object): void
}

const full: PackageSource = {
  name: '@parapet/b',
  folder: 'packages/b',
  errorDocs: [
    { name: 'PARAPET_B_LOST', when: 'The store is down.', fix: 'Start it.' },
    { name: 'PARAPET_B_DENIED', when: 'The caller has no role.', fix: 'Ask | wait.' },
  ],
  errors: new Map([
    ['PARAPET_B_LOST', { code: 'PARAPET_B_LOST', statusCode: 503, message: 'Lost:\n%s' }],
    ['PARAPET_B_DENIED', { code: 'PARAPET_B_DENIED', statusCode: 403, message: 'No | never' }],
  ]),
  events: {
    'b.denied': { severity: 'low', outcome: 'failure', description: 'A caller was denied.' },
  },
  routes: [
    { method: 'GET', path: '/b/:id', summary: 'Reads one b.', statuses: ['200', '404'] },
    { method: 'POST', path: '/b', summary: 'Creates a b.', statuses: [] },
  ],
}

const bare: PackageSource = {
  name: '@parapet/a',
  folder: 'packages/a',
  errorDocs: [{ name: 'PARAPET_A_X', when: 'X.', fix: 'Y.' }],
  errors: new Map([['PARAPET_A_X', { code: 'PARAPET_A_X', statusCode: 500, message: 'X' }]]),
  events: {},
  routes: [],
}

await t.test('the page of errors is sorted and says what to do about each', async (t) => {
  const page = renderErrors([full, bare])
  t.same(page.slice(page.indexOf('| Code')).split('\n'), [
    '| Code | Status | Message | Package | What to do |',
    '|---|---|---|---|---|',
    '| `PARAPET_A_X` | 500 | X | `@parapet/a` | Y. |',
    '| `PARAPET_B_DENIED` | 403 | No \\| never | `@parapet/b` | Ask \\| wait. |',
    '| `PARAPET_B_LOST` | 503 | Lost: %s | `@parapet/b` | Start it. |',
    '',
  ])
  t.match(page, /^# Errors\n\n<!-- Generated /)
})

await t.test('the reference of a package lists its routes, errors and events', async (t) => {
  const page = renderReference(full)
  t.match(page, /^# Reference of @parapet\/b\n\n<!-- Generated /)
  t.match(page, '[README](../../packages/b/README.md)')
  const tables = page.split('\n').filter((line) => /^\||^##/.test(line))
  t.same(tables, [
    '## Routes',
    '| Method | Path | What it does | Responses |',
    '|---|---|---|---|',
    '| GET | `/b/:id` | Reads one b. | 200, 404 |',
    '| POST | `/b` | Creates a b. | – |',
    '## Errors',
    '| Code | Status | When | What to do |',
    '|---|---|---|---|',
    '| `PARAPET_B_LOST` | 503 | The store is down. | Start it. |',
    '| `PARAPET_B_DENIED` | 403 | The caller has no role. | Ask \\| wait. |',
    '## Events',
    '| Type | Severity | Outcome | When |',
    '|---|---|---|---|',
    '| `b.denied` | low | failure | A caller was denied. |',
  ])
  t.notMatch(renderReference(bare), /## (?:Routes|Events)/)
})

await t.test('every blank cell is reported at once, with file and name', async (t) => {
  t.same(findMissingTexts([full, bare]), [])
  const blank: PackageSource = {
    ...full,
    errorDocs: [{ name: 'PARAPET_B_LOST', when: '', fix: 'Start it.' }],
    events: { 'b.denied': { severity: 'low', outcome: 'failure', description: ' ' } },
    routes: [{ method: 'GET', path: '/b', summary: '', statuses: [] }],
  }
  const noFix = { ...bare, errorDocs: [{ name: 'PARAPET_A_X', when: 'X.', fix: '' }] }
  t.match(findMissingTexts([blank, noFix]), [
    /^packages\/b\/src\/errors\.ts: PARAPET_B_LOST needs a docblock/,
    /^packages\/b\/src\/errors\.ts: PARAPET_B_DENIED is not declared/,
    'packages/b/src/events.ts: b.denied needs a description',
    'packages/b: the route GET /b needs a schema.summary',
    /^packages\/a\/src\/errors\.ts: PARAPET_A_X needs a sentence "Fix: …"/,
  ])
})

await t.test('routes are listed as they are registered, HEAD left out', async (t) => {
  const routes = await listRoutes(createApp(template), async (app) => {
    await (app as unknown as TestApp).register(
      async (child) => {
        const schema = { summary: 'Reads one.', response: { 404: {}, 200: {} } }
        child.get('/things/:id', { schema }, async () => ({}))
        child.route({ method: ['HEAD', 'PUT', 'POST'], url: '/things', handler: async () => ({}) })
      },
      { prefix: '/api' },
    )
  })
  t.same(routes, [
    { method: 'GET', path: '/api/things/:id', summary: 'Reads one.', statuses: ['200', '404'] },
    { method: 'PUT, POST', path: '/api/things', summary: '', statuses: [] },
  ])
  t.same(await listReferenceRoutes(t.testdir()), [], 'a package without a reference app has none')

  const register = `export default async function register(app: { get: Function }): Promise<void> {
  app.get('/status', { schema: { summary: 'Reads the status.' } }, async () => ({}))
}
`
  const home = t.testdir({
    'package.json': '{}',
    node_modules: t.fixture('symlink', join(template, 'node_modules')),
    test: { 'reference-app.ts': register },
  })
  t.same(await listReferenceRoutes(home), [
    { method: 'GET', path: '/status', summary: 'Reads the status.', statuses: [] },
  ])
})

await t.test('a page that is missing or was edited has drifted, until it is written', async (t) => {
  const root = t.testdir()
  const pages = new Map([['docs/deep/page.md', 'text\n']])
  t.same(findDrift(pages, root), ['docs/deep/page.md'])
  t.same(writePages(pages, root), ['docs/deep/page.md'])
  t.same(findDrift(pages, root), [])
  writeFileSync(join(root, 'docs/deep/page.md'), 'text \n')
  t.same(findDrift(pages, root), ['docs/deep/page.md'])
})

await t.test('the pages of this workspace are up to date', async (t) => {
  t.same(findDrift(await renderPages()), [], 'else run `pnpm run docs`')
  const [file, args] = plainNode([join(workspaceRoot, 'scripts/docs.ts'), '--check'])
  const { status, stdout, stderr } = spawnSync(file, args, {
    cwd: workspaceRoot,
    encoding: 'utf8',
  })
  t.equal(status, 0, stderr)
  t.match(stdout, /^docs\/errors\.md, docs\/reference\/.*: up to date\n$/)
})
