/** The README and the pages beside it agree with the code, both ways; the README's commands are run. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { checkErrorsTable, checkReadmeLength, readReadme, tableUnder } from '@parapet/testing'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { environment } from '../src/config/variables.ts'
import { renderDocuments } from '../src/config/write-documents.ts'
import * as errors from '../src/errors.ts'
import { createLog } from '../src/logging/log.ts'
import { events } from '../src/users/events.ts'
import { calm, createDataFolder } from './support/test-app.ts'

const run = promisify(execFile)
const home = new URL('../', import.meta.url)
const readme = readReadme(home)
const references = ['REFERENCE.md', 'REFERENCE-ADMIN.md'] as const
const pages = ['CONFIGURATION.md', 'ERRORS.md', 'OPERATION.md', ...references] as const
const read = (page: (typeof pages)[number]) => readFileSync(new URL(page, home), 'utf8')
const dataInReadme = 'examples/reference-server/data'

await t.test('CONFIGURATION.md and .env.example describe the variables of the code', async (t) => {
  for (const [path, text] of renderDocuments()) {
    t.equal(readFileSync(new URL(path, home), 'utf8'), text, `${path}: run pnpm run env`)
  }
  t.equal(
    tableUnder(read('CONFIGURATION.md'), 'Environment').length,
    Object.keys(environment.schema.properties).length,
  )
})

await t.test('ERRORS.md lists every error with its status', async (t) => {
  checkErrorsTable(t, read('ERRORS.md'), errors)
})

await t.test('ERRORS.md lists every security event', async (t) => {
  t.same(
    tableUnder(read('ERRORS.md'), 'Events').map((row) => [
      row['event'],
      row['severity'],
      row['when'],
    ]),
    Object.entries(events).map(([type, { severity, description }]) => [
      type,
      severity,
      description,
    ]),
  )
})

await t.test('the README and its pages are short and wrapped', async (t) => {
  checkReadmeLength(t, readme)
  for (const page of pages) {
    checkReadmeLength(t, read(page))
    t.match(readme, `](${page})`)
  }
})

await t.test('the references list every route, and the README shows real responses', async (t) => {
  const log = createLog({ logLevel: 'silent' })
  const DATA_DIR = createDataFolder(t)
  const app = await buildApp(readConfig({ ...calm, DATA_DIR }), { log })
  t.after(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo

  const { paths } = app.swagger() as { paths: Readonly<Record<string, object>> }
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  t.same(
    new Set(
      references.flatMap((page) =>
        tableUnder(read(page), 'Routes').flatMap((row) => routesOf(row['route']!)),
      ),
    ),
    new Set(operations),
  )

  const [, block = ''] = readme.split('```console\n')
  const commands = block.split('```', 1)[0]!.trim().split(/^\$ /m).slice(1).map(parseCommand)
  // One shell runs all commands, so that a later one can use the variables of an earlier one.
  const script = commands.map(
    ({ command }) =>
      `${command.replace(':3000', `:${port}`).replace(dataInReadme, DATA_DIR)}; echo`,
  )
  const { stdout } = await run('sh', ['-c', script.join('\n')])
  const printed = stdout.split('\n').filter((line) => line !== '')
  const expected = commands.flatMap(({ output }) => (output === '' ? [] : [output]))
  t.same(printed.map(normalize), expected.map(normalize))
  t.ok(expected.length > 4)
})

/** Splits a command, which `\` continues on the next line, from its output. */
function parseCommand(text: string) {
  const lines = text.trimEnd().split('\n')
  const end = lines.findIndex((line) => !line.endsWith('\\')) + 1
  return {
    command: lines.slice(0, end).join('\n'),
    // The server prints one line of JSON; the README wraps it between members.
    output: lines
      .slice(end)
      .join('')
      .replaceAll(/,\s+(?=")/g, ','),
  }
}

/** `GET /a /b` stands for two routes, and `GET /api/v1/users/:id …` for the same route of every resource. */
function routesOf(row: string): string[] {
  const [method, ...paths] = row.replaceAll(':id', '{id}').split(' ')
  if (paths[1] !== '…') return paths.map((path) => `${method} ${path}`)
  return ['users', 'content', 'artists'].map(
    (many) => `${method} ${paths[0]!.replace('users', many)}`,
  )
}

/** Replaces ids and times, which differ from run to run. */
function normalize(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
}
