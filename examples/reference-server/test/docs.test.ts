/** The README says what the code does: its tables are compared both ways and its commands are run. */
import { execFile } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { checkErrorsTable, checkReadmeLength, readReadme, tableUnder } from '@parapet/testing'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig, variables } from '../src/config.ts'
import * as errors from '../src/errors.ts'
import { createLog } from '../src/logging.ts'

const run = promisify(execFile)
const readme = readReadme(new URL('../', import.meta.url))
const dataInReadme = 'examples/reference-server/data'

await t.test('the README lists every variable with its default, and no other', async (t) => {
  const defaults = Object.entries(variables).map(([name, { fallback }]) => {
    const value = fallback?.value
    if (name === 'DATA_DIR') return [name, 'data in this folder']
    return [name, value === undefined || name === 'TRUST_PROXY' ? '–' : String(value)]
  })
  t.same(
    tableUnder(readme, 'Environment').map((row) => [row['variable'], row['default']]),
    defaults,
  )
})

await t.test('the README lists every error with its status, and is short', async (t) => {
  checkErrorsTable(t, readme, errors)
  checkReadmeLength(t, readme)
})

await t.test('the README lists every route, and its commands answer as it says', async (t) => {
  const log = createLog({ logLevel: 'silent' })
  const DATA_DIR = t.testdir()
  const app = await buildApp(readConfig({ DATA_DIR }), { log })
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo

  const { paths } = app.swagger() as { paths: Readonly<Record<string, object>> }
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  t.same(
    new Set(tableUnder(readme, 'Routes').flatMap((row) => routesOf(row['route']!))),
    new Set(operations),
  )

  const [, block = ''] = readme.split('```console\n')
  const lines = block.split('```', 1)[0]!.trim().split('\n')
  // In one shell, so that a later command has the variables of an earlier one.
  const script = lines.map((line) =>
    line.startsWith('$ ')
      ? `${line.slice(2).replace(':3000', `:${port}`).replace(dataInReadme, DATA_DIR)}; echo`
      : '',
  )
  const { stdout } = await run('sh', ['-c', script.join('\n')])
  const said = stdout.split('\n').filter((line) => line !== '')
  const expected = lines.filter((line) => !line.startsWith('$ '))
  t.same(said.map(withoutChance), expected.map(withoutChance))
  t.ok(expected.length > 4)
})

/** `GET /a /b` is two routes, and `GET /users/:id …` is the same of every resource. */
function routesOf(row: string): string[] {
  const [method, ...paths] = row.replaceAll(':id', '{id}').split(' ')
  if (paths[1] !== '…') return paths.map((path) => `${method} ${path}`)
  return ['users', 'content', 'artists'].map(
    (many) => `${method} ${paths[0]!.replace('users', many)}`,
  )
}

/** Ids and times differ from run to run. */
function withoutChance(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
}
