import { pathToFileURL } from 'node:url'
import {
  checkErrorsTable,
  checkEventDescriptions,
  checkInstallNote,
  checkOptionsTable,
  checkPluginDocs,
  checkPublicNames,
  checkReadmeLength,
  checkReferenceLink,
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

## Decorators
none
`

function errorClass(code: string, statusCode: number) {
  return class extends Error {
    readonly code = code
    readonly statusCode = statusCode
    override readonly message = 'Denied: %s'
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

await t.test('a README that agrees with the code passes every check', async (t) => {
  const { inner, log } = record()
  checkErrorsTable(inner, README, {
    PARAPET_DEMO_DENIED: errorClass('PARAPET_DEMO_DENIED', 403),
    PARAPET_DEMO_LIMIT: 3,
    plugin: () => {},
  })
  checkOptionsTable(inner, README, { totp: {}, [ACCEPT]: {} })
  checkOptionsTable(inner, README, ['totp', ACCEPT])
  checkReadmeLength(inner, README, 80)
  checkPublicNames(inner, { a: 1, b: 2 }, ['b', 'a'])
  t.same(log, [
    'pass README.md ## Errors agrees with the code',
    'pass README.md ## Options agrees with the code',
    'pass README.md ## Options agrees with the code',
    'pass README.md has at most 80 words, in lines that fit a screen',
    'pass the module exports exactly the listed names',
  ])
})

await t.test('a difference is reported both ways, with what to do', async (t) => {
  const { inner, log } = record()
  checkErrorsTable(inner, README, {
    PARAPET_DEMO_DENIED: errorClass('PARAPET_DEMO_REFUSED', 401),
    PARAPET_DEMO_GONE: errorClass('PARAPET_DEMO_GONE', 503),
  })
  checkErrorsTable(inner, README, {})
  checkOptionsTable(inner, README, { issuer: {} })
  checkPublicNames(inner, { a: 1 }, ['b'])
  t.same(log, [
    'fail the error exported as PARAPET_DEMO_DENIED has the code PARAPET_DEMO_REFUSED: use one name',
    'fail README.md ## Errors says PARAPET_DEMO_DENIED has the status 403; the code says 401',
    'fail README.md ## Errors lacks PARAPET_DEMO_GONE (status 503)',
    'fail README.md ## Errors lists PARAPET_DEMO_DENIED, which the code does not have',
    'fail README.md ## Options lists totp, which the code does not have',
    'fail README.md ## Options lists totp.stepSeconds, which the code does not have',
    'fail README.md ## Options lists [ACCEPT_THE_RISK], which the code does not have',
    'fail README.md ## Options lacks issuer',
    'fail a is exported: list it in the names test',
    'fail b is listed in the names test, not exported',
  ])
})

await t.test('a missing or malformed table, and a row listed twice, are reported', async (t) => {
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
    'pass README.md ## Options agrees with the code',
    'fail README.md needs a table under "## Options"',
    'fail README.md ## Options lists a twice',
    'fail README.md ## Errors says PARAPET_A has the status (no column); the code says 400',
  ])
})

function checkLength(readme: string, ...max: [] | [number]): string[] {
  const { inner, log } = record()
  checkReadmeLength(inner, readme, ...max)
  return log
}

await t.test('a README has a limit of words and of characters per line', async (t) => {
  const code = `\`\`\`ts\n| ${'x'.repeat(98)}\n\`\`\`\n`
  const fits = `${'y'.repeat(100)}\n  | ${'z'.repeat(156)}\n${code}${'word '.repeat(16)}\n`
  t.same(checkLength(fits, 23), ['pass README.md has at most 23 words, in lines that fit a screen'])
  t.same(checkLength(fits, 22), ['fail README.md has 23 words: cut it to 22'])
  t.same(checkLength('word\n'.repeat(1_201)), ['fail README.md has 1201 words: cut it to 1200'])
  t.same(checkLength(`${'y'.repeat(101)}\n| ${'z'.repeat(159)}\n${code.replace('x', 'xx')}`), [
    'fail README.md:1 has 101 characters: wrap it at 100',
    'fail README.md:2 has 161 characters: shorten a cell at 160',
    'fail README.md:4 has 101 characters: wrap it at 100',
  ])
})

await t.test('a README says below its install command how CommonJS loads it', async (t) => {
  const { inner, log } = record()
  const install = '```sh\nnpm install demo fastify\n```\n'
  const note = 'ESM; `require` works from Node 20.19.'
  const wrongPlace = 'fail README.md must say "ESM; `require` works from Node 20.19." right below'
  checkInstallNote(inner, `# demo\n\n${install}\n${note}\n\nText.\n`)
  checkInstallNote(inner, `${install}\n${note} A peer: pg.\n`)
  checkInstallNote(inner, `${install}\nText.\n\n${note}\n`)
  checkInstallNote(inner, `${note}\n`)
  checkInstallNote(inner, install)
  checkInstallNote(inner, `${install}\n${note}\n\n${note}\n`)
  t.same(
    log.map((line) => line.slice(0, wrongPlace.length)),
    [
      'pass README.md says how CommonJS loads the package',
      'pass README.md says how CommonJS loads the package',
      wrongPlace,
      wrongPlace,
      `fail README.md must say once "${note}"; it does 0 times`.slice(0, wrongPlace.length),
      `fail README.md must say once "${note}"; it does 2 times`.slice(0, wrongPlace.length),
    ],
  )
})

await t.test('a README links its generated page, and events have descriptions', async (t) => {
  const { inner, log } = record()
  checkReferenceLink(inner, 'See [all](../../docs/reference/demo.md#errors).', '@parapet/demo')
  checkReferenceLink(inner, 'See docs/reference/demo.md.', 'demo')
  checkEventDescriptions(inner, { a: { severity: 'low', outcome: 'failure', description: 'A.' } })
  checkEventDescriptions(inner, {
    a: { severity: 'low', outcome: 'failure', description: ' ' },
    b: { severity: 'low', outcome: 'failure' },
    c: undefined,
  })
  t.match(log, [
    'pass README.md links docs/reference/demo.md',
    /^fail README.md must link \[docs\/reference\/demo.md\]\(\.\.\/\.\.\/docs/,
    'pass every event has a description',
    'fail the event "a" needs a description in src/events.ts',
    'fail the event "b" needs a description in src/events.ts',
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
    await t.rejects(check('open'), /README.md:1 opens a fence that is not closed/)
  },
)

const demo = (): void => {}

await t.test('a plugin is checked in one call, and each difference is reported', async (t) => {
  const readme = `${README}
\`\`\`sh
npm install @parapet/demo
\`\`\`

ESM; \`require\` works from Node 20.19.

[docs/reference/demo.md](../../docs/reference/demo.md)

\`\`\`ts run
console.log('hi')
\`\`\`

\`\`\`text output
hi
\`\`\`
`
  const errors = `/** The request was denied. Fix: Ask for the role. */
export const PARAPET_DEMO_DENIED = 1
`
  const folder = t.testdir({
    'README.md': readme,
    'package.json': '{"name":"@parapet/demo"}',
    src: { 'errors.ts': errors },
  })
  const PARAPET_DEMO_DENIED = errorClass('PARAPET_DEMO_DENIED', 403)
  const docs: PluginDocs = {
    home: pathToFileURL(`${folder}/`),
    module: { default: demo, demo, helper: 1, PARAPET_DEMO_DENIED },
    plugin: 'demo',
    names: ['helper'],
    options: { totp: {}, [ACCEPT]: {} },
    events: { 'demo.denied': { severity: 'high', outcome: 'failure', description: 'Denied.' } },
  }
  const whole = record()
  await checkPluginDocs(whole.inner, docs)
  t.same(
    whole.log.filter((line) => !line.startsWith('pass ')),
    [],
  )
  t.ok(whole.log.includes('pass named and default export are the same function'))
  t.ok(whole.log.includes('pass README.md links docs/reference/demo.md'))

  const drifted = record()
  await checkPluginDocs(drifted.inner, {
    ...docs,
    module: { default: 1, demo },
    options: {},
    events: { 'demo.denied': { severity: 'high', outcome: 'failure' } },
  })
  t.match(
    drifted.log.filter((line) => line.startsWith('fail ')),
    [
      /## Options lists totp,/,
      /## Options lists totp.stepSeconds/,
      /## Options lists \[ACCEPT_THE_RISK\]/,
      /"demo.denied" needs a description/,
      /PARAPET_DEMO_DENIED is not exported by the package/,
      /helper is listed in the names test, not exported/,
      /the default export is not demo/,
    ],
  )
})

await t.test('the README of this package passes the checks', async (t) => {
  const readme = readReadme(HOME)
  checkReadmeLength(t, readme)
  checkPublicNames(
    t,
    testing,
    tableUnder(readme, 'Exports').map(({ name }) => String(name)),
  )
  await checkSnippets(t, HOME)
})
