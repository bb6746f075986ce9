import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findDrift, renderErrors, renderPages, writePages } from '../docs.ts'
import { workspaceRoot } from '../workspace.ts'

function errorClass(code: string, message: string, statusCode: number) {
  return class extends Error {
    readonly code = code
    readonly statusCode = statusCode
    constructor() {
      super(message)
    }
  }
}

const readme = `# a

## Errors

| Code | Status | Meaning | What to do |
|---|---|---|---|
| \`PARAPET_B_DENIED\` | 403 | No. | Ask \\| wait. |
`

await t.test(
  'the page of errors is sorted, and tells what the code and the README have',
  async (t) => {
    const page = renderErrors([
      {
        name: '@parapet/b',
        errors: {
          PARAPET_B_LOST: errorClass('PARAPET_B_LOST', 'Lost:\n%s', 503),
          PARAPET_B_DENIED: errorClass('PARAPET_B_DENIED', 'No | never', 403),
          NOT_AN_ERROR: Map,
          PARAPET_B_LIMIT: 3,
        },
        readme,
      },
      {
        name: '@parapet/a',
        errors: { PARAPET_A_X: errorClass('PARAPET_A_X', 'X', 500) },
        readme: '',
      },
    ])
    t.same(page.slice(page.indexOf('|---')).split('\n').slice(1), [
      '| `PARAPET_A_X` | 500 | X | `@parapet/a` |  |',
      '| `PARAPET_B_DENIED` | 403 | No \\| never | `@parapet/b` | Ask \\| wait. |',
      '| `PARAPET_B_LOST` | 503 | Lost: %s | `@parapet/b` |  |',
      '',
    ])
    t.match(page, /^# Errors\n\n<!-- Generated /)
  },
)

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
  const flags = ['--import=./scripts/ts.mjs', '--conditions=@parapet/source']
  const args = [...flags, 'scripts/docs.ts', '--check']
  const output = execFileSync(process.execPath, args, { cwd: workspaceRoot, encoding: 'utf8' })
  t.match(output, /^docs\/errors\.md.*: up to date\n$/)
})
