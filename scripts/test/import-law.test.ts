import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findCircles } from '../graph.ts'
import { findBreaches, formatBreach, rules, type Rule } from '../import-law.ts'
import { readImports } from '../imports.ts'
import { listFiles, workspaceRoot } from '../workspace.ts'

const manifests: readonly [string, object][] = [
  ['packages/kit/package.json', { name: '@parapet/kit', peerDependencies: { fastify: '^5.0.0' } }],
  ['packages/testing/package.json', { name: '@parapet/testing', dependencies: { pg: '1' } }],
  [
    'packages/rbac/package.json',
    {
      name: '@parapet/rbac',
      dependencies: { '@fastify/error': '4', '@parapet/kit': '0', 'fastify-plugin': '6' },
      peerDependencies: { fastify: '^5.0.0' },
      devDependencies: { '@parapet/testing': '0', ioredis: '6' },
    },
  ],
  [
    'packages/mfa/package.json',
    {
      name: '@parapet/mfa',
      bin: { mfa: './dist/verify/cli.js' },
      dependencies: { '@parapet/kit': '0', otpauth: '9' },
      peerDependencies: { fastify: '^5.0.0', ioredis: '6' },
    },
  ],
  ['templates/plugin/package.json', { name: '@parapet/template' }],
  ['examples/server/package.json', { name: '@parapet/server' }],
]

function checkAll(files: Readonly<Record<string, string>>) {
  return findBreaches(
    new Map([
      ...manifests.map(([path, manifest]): [string, string] => [path, JSON.stringify(manifest)]),
      ...Object.entries(files),
    ]),
  )
}

function check(file: string, text: string) {
  return checkAll({ [file]: text })
}

function brokenBy(file: string, text: string): Rule[] {
  return check(file, text).map(({ rule }) => rule)
}

const breaches: readonly [rule: Rule, file: string, text: string][] = [
  ['plugins-stay-independent', 'packages/rbac/test/a.test.ts', "import mfa from '@parapet/mfa'"],
  ['plugins-stay-independent', 'packages/rbac/bench/a.ts', "export * from '@parapet/mfa/src/x.ts'"],
  ['plugins-stay-independent', 'templates/plugin/test/a.ts', "type A = import('@parapet/rbac').A"],
  ['packages-keep-inside', 'packages/kit/test/a.ts', "import '../../testing/src/index.ts'"],
  ['packages-keep-inside', 'packages/kit/src/a.ts', "import type { A } from '../../../x.ts'"],
  ['kit-stays-small', 'packages/kit/src/http/a.ts', "import { type A } from 'fastify'"],
  ['kit-stays-small', 'packages/kit/src/index.ts', "import Fastify from 'fastify'"],
  ['core-without-fastify', 'packages/kit/src/store/a.ts', "import type { A } from 'fastify'"],
  ['core-without-fastify', 'packages/kit/src/options.ts', "import type { A } from 'fastify'"],
  ['core-without-fastify', 'packages/rbac/src/roles.ts', "import type { A } from 'fastify'"],
  ['core-without-fastify', 'packages/rbac/src/x/deep.ts', "import fp from 'fastify-plugin'"],
  ['core-without-fastify', 'packages/rbac/src/blind-index.ts', "import type { A } from 'fastify'"],
  ['core-without-fastify', 'packages/rbac/src/a-hooks.ts', "import type { A } from 'fastify'"],
  ['core-without-fastify', 'packages/rbac/src/x/http/a.ts', "import type { A } from 'fastify'"],
  ['core-without-fastify', 'packages/rbac/src/x/options.ts', "import type { A } from 'fastify'"],
  ['core-without-fastify', 'packages/rbac/src/a.ts', '/// <reference types="fastify" />'],
  ['types-only', 'packages/rbac/src/options.ts', "import Fastify from 'fastify'"],
  ['types-only', 'packages/rbac/src/events.ts', "import { type A } from 'fastify'"],
  ['types-only', 'packages/mfa/src/codes-redis.ts', "import { Redis } from 'ioredis'"],
  ['types-only', 'packages/mfa/src/index.ts', "import { Redis } from 'ioredis'"],
  ['types-only', 'packages/mfa/src/http/a.ts', "const a = await import('ioredis')"],
  ['index-is-the-entry', 'packages/rbac/src/a.ts', "import { a } from './index.ts'"],
  ['index-is-the-entry', 'packages/rbac/src/x/a.ts', "import type { A } from '../index.ts'"],
  ['index-is-the-entry', 'packages/kit/src/x/a.ts', "export * from '../store/index.ts'"],
  ['declared-only', 'packages/rbac/src/a.ts', "import { parse } from 'otpauth'"],
  ['declared-only', 'packages/rbac/src/a.ts', "import type { parse } from 'otpauth/deep'"],
  ['declared-only', 'packages/rbac/src/a.ts', "import fs from 'fs'"],
  ['declared-only', 'packages/rbac/src/a.ts', 'const a = await import(globalThis.name)'],
  ['testing-stays-in-tests', 'packages/rbac/tools.ts', "import '@parapet/testing'"],
  ['testing-stays-in-tests', 'packages/kit/tools.ts', "import '@parapet/testing'"],
  ['examples-are-leaves', 'scripts/a.ts', "import '../examples/server/src/main.ts'"],
  ['examples-are-leaves', 'scripts/a.mjs', "import '../examples/loose.mjs'"],
  ['examples-are-leaves', 'packages/rbac/test/a.ts', "import '@parapet/server'"],
]

await t.test('every rule reports its breach with file, line and rule', async (t) => {
  for (const [rule, file, text] of breaches) {
    const found = check(file, `// a first line\n\n${text}\n`)
    t.match(found, [{ file, line: 3, rule }], `${file}: ${text}`)
    t.equal(found.length, 1, `${file}: nothing else is reported`)
    t.match(formatBreach(found[0]!), `${file}:3 ${rule}: `)
  }
  const circles = ['files-form-no-circle', 'folders-form-no-circle']
  t.same(
    [...new Set([...breaches.map(([rule]) => rule), ...circles])].toSorted(),
    Object.keys(rules).toSorted(),
    'every rule has a test that breaks it',
  )
})

await t.test(
  'a circle among files is reported as a path, also when only types form it',
  async (t) => {
    const files = {
      'packages/rbac/src/index.ts': "import './service.ts'; import './policy/a.ts'",
      'packages/rbac/src/service.ts': "import './policy/a.ts'",
      'packages/rbac/src/policy/a.ts': "import '../errors.ts'\nimport type { B } from './b.ts'",
      'packages/rbac/src/policy/b.ts': "export type { C } from './c.ts'",
      'packages/rbac/src/policy/c.ts': "type A = import('./a.ts').A",
      'packages/rbac/src/errors.ts': "import './errors.ts'",
    }
    t.same(checkAll(files).map(formatBreach), [
      'packages/rbac/src/policy/a.ts:2 files-form-no-circle: ' +
        'policy/a.ts → policy/b.ts → policy/c.ts → policy/a.ts ' +
        '(policy/a.ts:2 imports policy/b.ts; policy/b.ts:1 imports policy/c.ts; ' +
        'policy/c.ts:1 imports policy/a.ts): ' +
        'the files of a package do not import each other in a circle',
    ])
    const upwards = {
      'packages/rbac/src/service.ts': "import './policy/a.ts'",
      'packages/rbac/src/policy/a.ts': "import type { A } from '../service.ts'",
    }
    t.same(
      checkAll(upwards).map(({ rule }) => rule),
      ['files-form-no-circle'],
      'a file directly in src counts as a file',
    )
  },
)

await t.test('a circle among folders is reported with the imports that form it', async (t) => {
  const files = {
    'packages/mfa/src/account/a.ts': "import './b.ts'",
    'packages/mfa/src/account/b.ts': "\nimport type { C } from '../factors/deep/c.ts'",
    'packages/mfa/src/factors/d.ts': "import '../limits/e.ts'",
    'packages/mfa/src/factors/deep/c.ts': '',
    'packages/mfa/src/limits/e.ts': "import '../account/a.ts'",
    // One package's folders are no part of another's graph.
    'packages/rbac/src/factors/c.ts': "import '../account/a.ts'",
    'packages/rbac/src/account/a.ts': '',
  }
  const found = checkAll(files)
  t.same(found.map(formatBreach), [
    'packages/mfa/src/account/b.ts:2 folders-form-no-circle: ' +
      'account → factors → limits → account ' +
      '(account/b.ts:2 imports factors/deep/c.ts; factors/d.ts:1 imports limits/e.ts; ' +
      'limits/e.ts:1 imports account/a.ts): ' +
      'the folders of a package do not import each other in a circle',
  ])
  t.same(
    checkAll({
      'packages/kit/src/store/a.ts': "import type { B } from '../time/b.ts'",
      'packages/kit/src/time/b.ts': '',
      'packages/kit/src/time/c.ts': "import type { A } from '../store/a.ts'",
    }).map(({ rule }) => rule),
    ['folders-form-no-circle'],
    'types count, and kit is no exception',
  )
  const downwards = {
    'packages/mfa/src/http/a.ts': "import '../account/a.ts'; import '../service.ts'",
    'packages/mfa/src/service.ts': "import './account/a.ts'",
    'packages/mfa/src/account/a.ts': "import '../errors.ts'",
    'packages/mfa/src/errors.ts': '',
  }
  t.same(checkAll(downwards), [], 'imports that go one way form no circle')
})

await t.test('circles that share a node are all reported', async (t) => {
  const graph = new Map([
    ['a', new Set(['b', 'c', 'a'])],
    ['b', new Set(['a'])],
    ['c', new Set(['d'])],
    ['d', new Set(['a'])],
    ['e', new Set(['a'])],
  ])
  t.same(findCircles(graph), [
    ['a', 'b', 'a'],
    ['a', 'c', 'd', 'a'],
  ])
})

await t.test('one import may break several rules, and each is named', async (t) => {
  t.same(brokenBy('packages/rbac/src/a.ts', "import type { A } from '@parapet/mfa'"), [
    'plugins-stay-independent',
    'declared-only',
  ])
  t.same(brokenBy('packages/rbac/src/a.ts', "export { A } from '../../mfa/src/index.ts'"), [
    'packages-keep-inside',
    'plugins-stay-independent',
    'index-is-the-entry',
  ])
  t.same(brokenBy('packages/rbac/src/a.ts', "import { a } from '@parapet/testing'"), [
    'testing-stays-in-tests',
    'declared-only',
  ])
  t.same(brokenBy('packages/kit/src/a.ts', "import { Redis } from 'ioredis'"), [
    'kit-stays-small',
    'declared-only',
  ])
})

await t.test('a package that imports itself by name imports its index', async (t) => {
  t.same(brokenBy('packages/rbac/src/a.ts', "import type { A } from '@parapet/rbac'"), [
    'index-is-the-entry',
    'declared-only',
  ])
})

await t.test('what the law allows is not reported', async (t) => {
  const allowed: readonly [string, string][] = [
    ['packages/kit/src/http/a.ts', "import type { A } from 'fastify'; import fs from 'node:fs'"],
    ['packages/kit/src/index.ts', "import type { A } from 'fastify'; import './http/a.ts'"],
    ['packages/kit/src/a.ts', "import { b } from './b.ts'"],
    ['packages/kit/test/a.ts', "import { a } from '@parapet/testing'; import pg from 'pg'"],
    ['packages/rbac/src/index.ts', "import fp from 'fastify-plugin'; import F from 'fastify'"],
    [
      'packages/rbac/src/http/reports/a.ts',
      "import F from 'fastify'; import fp from 'fastify-plugin'",
    ],
    ['packages/rbac/src/options.ts', "import type { A } from 'fastify'"],
    ['packages/rbac/src/events.ts', "import type { A } from 'fastify'"],
    ['packages/rbac/src/errors.ts', "import { createError } from '@fastify/error'"],
    ['packages/rbac/src/x/deep.ts', "import { a } from '../roles.ts'; import '@parapet/kit'"],
    ['packages/mfa/src/account/redis.ts', "import type { Redis } from 'ioredis'"],
    ['packages/mfa/src/verify/cli.ts', "const { Redis } = await import('ioredis')"],
    ['packages/mfa/src/verify/cli.ts', 'await import(fileOfTheUser)'],
    ['packages/mfa/test/index.ts', "import '../src/index.ts'; import '@parapet/mfa'"],
    ['packages/mfa/test/a.ts', "import Fastify from 'fastify'; import fc from 'fast-check'"],
    ['packages/rbac/src/a.ts', "declare module 'fastify' { interface A {} }"],
    ['examples/server/src/main.ts', "import '@parapet/rbac'; import '@parapet/mfa'"],
    ['scripts/bench.ts', "import '@parapet/testing'; const a = await import(globalThis.name)"],
  ]
  for (const [file, text] of allowed) {
    t.same(check(file, text).map(formatBreach), [], `${file}: ${text}`)
  }
})

await t.test('every form of import is found', async (t) => {
  const ways = [
    "import 'a'",
    "import a from 'a'",
    "import * as a from 'a'",
    "export { a } from 'a'",
    "export * from 'a'",
    "export * as a from 'a'",
    "const f = async () => { await import('a') }",
    'await import(`a`)',
    "import a = require('a')",
    "const a = require('a')",
    "require.resolve('a')",
    "import.meta.resolve('a')",
    "import { type A } from 'a'",
  ]
  for (const way of ways) {
    t.same(readImports('a.ts', way), [{ specifier: 'a', typeOnly: false, line: 1 }], way)
  }
  const types = [
    "import type { A } from 'a'",
    "export type { A } from 'a'",
    "export type * from 'a'",
    "type A = import('a').A",
    "let a: typeof import('a')",
    "import type A = require('a')",
    '/// <reference types="a" />',
  ]
  for (const way of types) {
    t.same(readImports('a.ts', way), [{ specifier: 'a', typeOnly: true, line: 1 }], way)
  }
  const others = ['import A = B.C', "require('a', 'b').c(...[])", 'f(...a)', "x.resolve('a')"]
  t.same(
    others.flatMap((text) => readImports('a.ts', text).map(({ specifier }) => specifier)),
    ['a'],
    'nothing else counts as an import',
  )
  t.throws(() => readImports('a.ts', 'import from'), /a\.ts does not parse/)
})

await t.test('the workspace keeps the law', async (t) => {
  const files = listFiles().filter((path) => /\.[cm]?[jt]sx?$|(?:^|\/)package\.json$/.test(path))
  const tree = new Map(files.map((path) => [path, readFileSync(join(workspaceRoot, path), 'utf8')]))
  t.ok(tree.has('packages/kit/src/index.ts'), 'it looked at the sources')
  t.same(findBreaches(tree).map(formatBreach), [])
})
