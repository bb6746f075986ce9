import { pathToFileURL } from 'node:url'
import {
  checkErrorsTable,
  checkEventsTable,
  checkOptionsTable,
  checkPluginDocs,
  checkPublicNames,
  checkReadmeLength,
  checkSnippets,
  readReadme,
  tableUnder,
  type PluginDocs,
} from '@parapet/testing'
import * as testing from '@parapet/testing'
import t from 'tap'
import { record } from './record.ts'

const HOME = new URL('../', import.meta.url)
const ACCEPT = Symbol('ACCEPT_THE_RISK')

const README = `# demo

## Options

| option | type |
|:-------|-----:|
| \`totp\` | group |
| \`totp.stepSeconds\` | \`a \\| b\` |
| \`[ACCEPT_THE_RISK]\` | symbol |

## Errors
Some text.

| code | status |
| --- | --- |
| \`PARAPET_DEMO_DENIED\` | 403 |
not a row

## Events
| type | severity | outcome |
| --- | --- | --- |
| \`demo.denied\` | high | failure |
`

function errorClass(code: string, statusCode: number) {
  return class extends Error {
    readonly code = code
    readonly statusCode = statusCode
  }
}

await t.test('a table is read by its headers, without backticks', async (t) => {
  t.same(tableUnder(README, 'Options'), [
    { option: 'totp', type: 'group' },
    { option: 'totp.stepSeconds', type: 'a | b' },
    { option: '[ACCEPT_THE_RISK]', type: 'symbol' },
  ])
  t.same(tableUnder(README, 'Errors'), [{ code: 'PARAPET_DEMO_DENIED', status: '403' }])
  t.throws(() => tableUnder(README, 'Option'), /needs a table under "## Option"/)
  t.throws(() => tableUnder('## Errors\ntext\n## Events\n| a |\n| - |', 'Errors'), /"## Errors"/)
})

await t.test('a README that tells the truth passes every check', async (t) => {
  const { inner, log } = record()
  checkErrorsTable(inner, README, {
    PARAPET_DEMO_DENIED: errorClass('PARAPET_DEMO_DENIED', 403),
    PARAPET_DEMO_LIMIT: 3,
    plugin: () => {},
  })
  checkEventsTable(inner, README, {
    'demo.denied': { severity: 'high', outcome: 'failure' },
    'demo.absent': undefined,
  })
  checkOptionsTable(inner, README, { totp: {}, [ACCEPT]: {} })
  checkOptionsTable(inner, README, ['totp', ACCEPT])
  checkReadmeLength(inner, README, 30)
  checkPublicNames(inner, { a: 1, b: 2 }, ['b', 'a'])
  t.same(log, [
    'pass README.md ## Errors tells what the code has',
    'pass README.md ## Events tells what the code has',
    'pass README.md ## Options tells what the code has',
    'pass README.md ## Options tells what the code has',
    'pass README.md has at most 30 lines',
    'pass the public names are those promised',
  ])
})

await t.test('a drift is told both ways, with what to do', async (t) => {
  const { inner, log } = record()
  checkErrorsTable(inner, README, {
    PARAPET_DEMO_DENIED: errorClass('PARAPET_DEMO_REFUSED', 401),
    PARAPET_DEMO_GONE: errorClass('PARAPET_DEMO_GONE', 503),
  })
  checkErrorsTable(inner, README, {})
  checkEventsTable(inner, README, {
    'demo.denied': { severity: 'low', outcome: 'failure' },
    'demo.locked': { severity: 'high', outcome: 'unknown' },
  })
  checkOptionsTable(inner, README, { issuer: {} })
  checkReadmeLength(inner, README, 20)
  checkPublicNames(inner, { a: 1 }, ['b'])
  t.same(log, [
    'fail the error exported as PARAPET_DEMO_DENIED has the code PARAPET_DEMO_REFUSED: use one name',
    'fail README.md ## Errors says PARAPET_DEMO_DENIED has the status 403; the code says 401',
    'fail README.md ## Errors lacks PARAPET_DEMO_GONE (status 503)',
    'fail README.md ## Errors lists PARAPET_DEMO_DENIED, which the code does not have',
    'fail README.md ## Events says demo.denied has the severity high; the code says low',
    'fail README.md ## Events lacks demo.locked (severity high, outcome unknown)',
    'fail README.md ## Options lists totp, which the code does not have',
    'fail README.md ## Options lists totp.stepSeconds, which the code does not have',
    'fail README.md ## Options lists [ACCEPT_THE_RISK], which the code does not have',
    'fail README.md ## Options lacks issuer',
    `fail README.md has ${README.trimEnd().split('\n').length} lines: cut it to 20`,
    'fail a is exported: promise it in the names test',
    'fail b is promised and not exported',
  ])
})

await t.test('a table that is missing, malformed or lists twice is told', async (t) => {
  const { inner, log } = record()
  checkOptionsTable(inner, '# demo', ['issuer'])
  checkOptionsTable(inner, '# demo', [])
  checkOptionsTable(inner, '## Options\nnone', [])
  checkOptionsTable(inner, '## Options\n| name |\n| - |\n| a |\n| a |', ['a'])
  checkErrorsTable(inner, '## Errors\n| code |\n| - |\n| PARAPET_A |', {
    PARAPET_A: errorClass('PARAPET_A', 400),
  })
  t.same(log, [
    'fail README.md ## Options lacks issuer',
    'pass README.md ## Options tells what the code has',
    'fail README.md needs a table under "## Options"',
    'fail README.md ## Options lists a twice',
    'fail README.md ## Errors says PARAPET_A has the status (no column); the code says 400',
  ])
})

await t.test(
  'snippets are compiled and run, and a failure names the line of the README',
  async (t) => {
    const good = [
      '```ts run',
      'const answer: number = 42',
      'console.log(answer)',
      '```',
      '',
      '```text output',
      '42',
      '```',
      '```ts continued run',
      'console.log(answer + 1)',
      '```',
      '```text output',
      '42',
      '43',
      '```',
      '```js run',
      'const answer = 1',
      '```',
      '```sh',
      'exit 1',
      '```',
    ]
    const bad = [
      '```ts run',
      "throw new Error('no')",
      '```',
      '```ts',
      "const text: number = 'x'",
      '```',
      '```ts run',
      "console.log('one')",
      '```',
      '```text output',
      'two',
      '```',
    ]
    const folder = t.testdir({
      good: { 'README.md': good.join('\n') },
      bad: { 'README.md': bad.join('\n') },
      none: { 'README.md': '# nothing' },
      open: { 'README.md': '```ts\n' },
    })
    const check = async (name: string) => {
      const { inner, log } = record()
      await checkSnippets(inner, pathToFileURL(`${folder}/${name}/`))
      return log
    }
    t.same(await check('good'), [
      'pass the snippets of README.md compile',
      'pass the example at README.md:2 runs',
      'pass the example at README.md:10 runs',
      'pass the example at README.md:17 runs',
    ])
    const log = await check('bad')
    t.match(log, [
      /^fail README.md has snippets that do not compile:\nREADME.md\(5,7\): error TS2322/,
      /^fail the example at README.md:2 does not run:\nREADME.md:2\n/,
      /^fail the example at README.md:8 prints:\none\nbut README.md says:\ntwo$/,
    ])
    t.equal(log.length, 3)
    t.match(await check('none'), ['fail README.md needs an example in a "ts run" fence'])
    await t.rejects(check('open'), /README.md:1 opens a fence that nothing closes/)
  },
)

const demo = (): void => {}

await t.test('a plugin is checked in one call, and each drift is told', async (t) => {
  const readme = `${README}
\`\`\`ts run
console.log('hi')
\`\`\`

\`\`\`text output
hi
\`\`\`
`
  const folder = t.testdir({ 'README.md': readme, 'package.json': '{"name":"demo"}' })
  const PARAPET_DEMO_DENIED = errorClass('PARAPET_DEMO_DENIED', 403)
  const docs: PluginDocs = {
    home: pathToFileURL(`${folder}/`),
    module: { default: demo, demo, helper: 1, PARAPET_DEMO_DENIED },
    plugin: 'demo',
    names: ['helper'],
    options: { totp: {}, [ACCEPT]: {} },
    events: { 'demo.denied': { severity: 'high', outcome: 'failure' } },
  }
  const whole = record()
  await checkPluginDocs(whole.inner, docs)
  t.same(
    whole.log.filter((line) => !line.startsWith('pass ')),
    [],
  )
  t.ok(whole.log.includes('pass named and default export are the same function'))

  const drifted = record()
  await checkPluginDocs(drifted.inner, { ...docs, module: { default: 1, demo }, events: {} })
  t.match(
    drifted.log.filter((line) => line.startsWith('fail ')),
    [
      /## Errors lists PARAPET_DEMO_DENIED/,
      /## Events lists demo.denied/,
      /helper is promised/,
      /the default export is not demo/,
    ],
  )
})

await t.test('the README of this package keeps its own rules', async (t) => {
  const readme = readReadme(HOME)
  checkReadmeLength(t, readme)
  checkPublicNames(
    t,
    testing,
    tableUnder(readme, 'Exports').map(({ name }) => String(name)),
  )
  await checkSnippets(t, HOME)
})
