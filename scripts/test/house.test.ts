import { plainNode } from '@parapet/testing'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { longestChain } from '../graph.ts'
import { measure, readNumstat, renderHouse, renderTable } from '../house.ts'
import { workspaceRoot } from '../workspace.ts'

/** No package is deeper than this many rooms. */
const MAX_ROOMS = 8

const tower = new Map([
  [
    'index.ts',
    "import fp from 'fastify-plugin'\nimport './http/routes.ts'\nimport './options.ts'\n",
  ],
  ['http/routes.ts', "import '../service.ts'\n"],
  ['http/hooks.ts', "import type { A } from '../tokens/verify.ts'\n"],
  ['service.ts', "import './tokens/verify.ts'\n"],
  ['tokens/verify.ts', "import '../keys/ring.ts'\nimport '../errors.ts'\n"],
  ['keys/ring.ts', "import './jwk.ts'\n"],
  ['keys/jwk.ts', "import '../errors.ts'\n"],
  ['options.ts', "import type { B } from './keys/jwk.ts'\n"],
  ['errors.ts', ''],
])

await t.test('a package is measured by its rooms', async (t) => {
  t.same(measure(tower), {
    files: 9,
    lines: 12,
    folders: 3,
    folderImports: 2,
    chain: ['index.ts', 'http/', 'service.ts', 'tokens/', 'keys/', 'errors.ts'],
    circles: 0,
  })
})

await t.test('a circle counts, and its rooms are links of the chain', async (t) => {
  const circle = new Map([
    ...tower,
    ['keys/jwk.ts', "import type { A } from '../tokens/verify.ts'\n"],
  ])
  t.match(measure(circle), { circles: 2, folderImports: 3 })
  t.equal(measure(circle).chain.length, 6)
  t.same(longestChain(new Map()), [])
})

await t.test('the lines of git are summed by package, renames included', async (t) => {
  const output = [
    '3\t1\tpackages/kit/src/a.ts',
    '2\t0\t',
    'packages/kit/src/b.ts',
    'packages/kit/src/time/b.ts',
    '-\t-\tpackages/mfa/test/qr.png',
    '5\t7\tdocs/errors.md',
    '1\t1\tREADME.md',
    '',
  ].join('\0')
  t.same(
    [...readNumstat(output)],
    [
      ['kit', { added: 5, deleted: 1 }],
      ['mfa', { added: 0, deleted: 0 }],
      ['docs', { added: 6, deleted: 8 }],
    ],
  )
})

await t.test('the report is an aligned table, with before and after where asked', async (t) => {
  t.equal(
    renderTable([
      ['package', 'files'],
      ['kit', '12'],
    ]),
    'package  files\nkit         12',
  )
  const now = new Map([['kit', measure(tower)]])
  const [header, row] = renderHouse(now).split('\n')
  t.match(
    header,
    /^package {2}files {2}lines {2}folders {2}imports between folders {2}longest chain {2}circles$/,
  )
  t.match(row, /^kit +9 +12 +3 +2 +6 +0$/)
  t.match(renderHouse(now), '\nkit: index.ts → http/ → service.ts → tokens/ → keys/ → errors.ts\n')

  const flat = new Map([['kit', measure(new Map([['index.ts', '']]))]])
  const churn = new Map([
    ['kit', { added: 5, deleted: 1 }],
    ['docs', { added: 6, deleted: 8 }],
  ])
  const lines = renderHouse(now, flat, churn).split('\n')
  t.match(lines[1], /^kit +1 → 9 +1 → 12 +0 → 3 +0 → 2 +1 → 6 +0 → 0 +\+5 +-1$/)
  t.match(lines[2], /^docs +\+6 +-8$/)
  t.match(lines[3], /^total +\+11 +-9$/)
  t.match(renderHouse(now, new Map()).split('\n')[1], '– → 9')
})

await t.test('the command measures this workspace', async (t) => {
  const [file, args] = plainNode([join(workspaceRoot, 'scripts/house.ts')])
  const { status, stdout, stderr } = spawnSync(file, args, {
    cwd: workspaceRoot,
    encoding: 'utf8',
  })
  t.equal(status, 0, stderr)
  t.match(stdout, /^package +files/)
  t.match(stdout, /\nkit +\d+ /)
  t.match(stdout, /\nkit: index\.ts → /)
  const chains = stdout.slice(stdout.indexOf('longest chains')).trim().split('\n').slice(1)
  t.ok(chains.length > 6)
  for (const chain of chains) t.ok(chain.split(' → ').length <= MAX_ROOMS, chain)
})
