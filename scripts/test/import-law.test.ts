import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
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
      dependencies: { '@parapet/kit': '0', otpauth: '9' },
      peerDependencies: { fastify: '^5.0.0', ioredis: '6' },
    },
  ],
  ['templates/plugin/package.json', { name: '@parapet/template' }],
  ['examples/server/package.json', { name: '@parapet/server' }],
]

function check(file: string, text: string) {
  return findBreaches(
    new Map([
      ...manifests.map(([path, manifest]): [string, string] => [path, JSON.stringify(manifest)]),
      [file, text],
    ]),
  )
}

function brokenBy(file: string, text: string): Rule[] {
  return check(file, text).map(({ rule }) => rule)
}

const breaches: readonly [rule: Rule, file: string, text: string][] = [
  ['plugins-stand-alone', 'packages/rbac/test/a.test.ts', "import mfa from '@parapet/mfa'"],
  ['plugins-stand-alone', 'packages/rbac/bench/a.ts', "export * from '@parapet/mfa/src/x.ts'"],
  ['plugins-stand-alone', 'templates/plugin/test/a.ts', "type A = import('@parapet/rbac').A"],
  ['packages-keep-inside', 'packages/kit/test/a.ts', "import '../../testing/src/index.ts'"],
  ['packages-keep-inside', 'packages/kit/src/a.ts', "import type { A } from '../../../x.ts'"],
  ['kit-stays-small', 'packages/kit/src/a.ts', "import { type A } from 'fastify'"],
  ['kit-stays-small', 'packages/kit/src/a.ts', "import Fastify from 'fastify'"],
  ['core-knows-no-fastify', 'packages/rbac/src/roles.ts', "import type { A } from 'fastify'"],
  ['core-knows-no-fastify', 'packages/rbac/src/x/deep.ts', "import fp from 'fastify-plugin'"],
  ['core-knows-no-fastify', 'packages/rbac/src/a-redis.ts', "import type { A } from 'fastify'"],
  ['core-knows-no-fastify', 'packages/rbac/src/a.ts', '/// <reference types="fastify" />'],
  ['types-only', 'packages/rbac/src/options.ts', "import Fastify from 'fastify'"],
  ['types-only', 'packages/mfa/src/codes-redis.ts', "import { Redis } from 'ioredis'"],
  ['types-only', 'packages/mfa/src/codes.ts', "import type { Redis } from 'ioredis'"],
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
  t.same([...new Set(breaches.map(([rule]) => rule))].toSorted(), Object.keys(rules).toSorted())
})

await t.test('one import may break several rules, and each is named', async (t) => {
  t.same(brokenBy('packages/rbac/src/a.ts', "import type { A } from '@parapet/mfa'"), [
    'plugins-stand-alone',
    'declared-only',
  ])
  t.same(brokenBy('packages/rbac/src/a.ts', "export { A } from '../../mfa/src/index.ts'"), [
    'packages-keep-inside',
    'plugins-stand-alone',
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

await t.test('what the house allows is not reported', async (t) => {
  const allowed: readonly [string, string][] = [
    ['packages/kit/src/a.ts', "import type { A } from 'fastify'; import fs from 'node:fs'"],
    ['packages/kit/src/a.ts', "import { b } from './b.ts'"],
    ['packages/kit/test/a.ts', "import { a } from '@parapet/testing'; import pg from 'pg'"],
    ['packages/rbac/src/index.ts', "import fp from 'fastify-plugin'; import F from 'fastify'"],
    ['packages/rbac/src/report-routes.ts', "import type { A } from 'fastify'"],
    ['packages/rbac/src/options.ts', "import type { A } from 'fastify'"],
    ['packages/rbac/src/errors.ts', "import { createError } from '@fastify/error'"],
    ['packages/rbac/src/x/deep.ts', "import { a } from '../roles.ts'; import '@parapet/kit'"],
    ['packages/mfa/src/codes-redis.ts', "import type { Redis } from 'ioredis'"],
    ['packages/mfa/test/a.ts', "import Fastify from 'fastify'; import fc from 'fast-check'"],
    ['packages/rbac/src/a.ts', "declare module 'fastify' { interface A {} }"],
    ['examples/server/src/main.ts', "import '@parapet/rbac'; import '@parapet/mfa'"],
    ['scripts/bench.ts', "import '@parapet/testing'; const a = await import(globalThis.name)"],
  ]
  for (const [file, text] of allowed) {
    t.same(check(file, text).map(formatBreach), [], `${file}: ${text}`)
  }
})

await t.test('every way to import is seen', async (t) => {
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
    'and nothing else is taken for one',
  )
  t.throws(() => readImports('a.ts', 'import from'), /a\.ts does not parse/)
})

await t.test('the workspace keeps the law', async (t) => {
  const files = listFiles().filter((path) => /\.[cm]?[jt]sx?$|(?:^|\/)package\.json$/.test(path))
  const tree = new Map(files.map((path) => [path, readFileSync(join(workspaceRoot, path), 'utf8')]))
  t.ok(tree.has('packages/kit/src/index.ts'), 'it looked at the sources')
  t.same(findBreaches(tree).map(formatBreach), [])
})
