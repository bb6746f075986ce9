import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as api from '@parapet/rbac'
import {
  checkErrorsTable,
  checkEventsTable,
  checkOptionsTable,
  checkPublicNames,
  checkReadmeLength,
  checkSnippets,
  readReadme,
} from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)
const readme = readReadme(home)

await t.test('the README is short, and its tables tell what the code has', async (t) => {
  checkReadmeLength(t, readme)
  checkOptionsTable(t, readme, optionTable)
  checkErrorsTable(t, readme, api)
  checkEventsTable(t, readme, events)
})

await t.test('the examples of the README compile, run and print what they say', async (t) => {
  await checkSnippets(t, home)
})

await t.test('the package exports what it promises, and nothing else', async (t) => {
  checkPublicNames(t, api, [
    'PARAPET_RBAC_CONFLICT',
    'PARAPET_RBAC_DENIED',
    'PARAPET_RBAC_INVALID_ARGUMENT',
    'PARAPET_RBAC_INVALID_OPTION',
    'PARAPET_RBAC_INVALID_POLICY',
    'PARAPET_RBAC_INVALID_RULE',
    'PARAPET_RBAC_MALFORMED_EVALUATION',
    'PARAPET_RBAC_MATRIX_MISMATCH',
    'PARAPET_RBAC_SEPARATION_OF_DUTY',
    'PARAPET_RBAC_STALE',
    'PARAPET_RBAC_UNAUTHENTICATED',
    'PARAPET_RBAC_UNDECLARED_ROUTES',
    'PARAPET_RBAC_UNKNOWN_PERMISSION',
    'after',
    'and',
    'before',
    'cidr',
    'createMemoryPolicyStore',
    'createPostgresPolicyStore',
    'decodePolicy',
    'default',
    'definePolicy',
    'during',
    'encodePolicy',
    'eq',
    'exists',
    'fromMap',
    'gt',
    'gte',
    'has',
    'isIn',
    'lt',
    'lte',
    'ne',
    'not',
    'or',
    'rbac',
    'testMatrix',
  ])
  t.equal(api.default, api.rbac, 'named and default export are the same function')
})

interface PolicyVectors {
  readonly valid: readonly {
    readonly name: string
    readonly text: string
    readonly digest: string
  }[]
  readonly invalid: readonly { readonly name: string; readonly text: string }[]
}

await t.test('the stored form of a policy keeps its specification', async (t) => {
  const file = new URL('../../../docs/spec/vectors/rbac-policy.json', import.meta.url)
  const { valid, invalid } = JSON.parse(readFileSync(file, 'utf8')) as PolicyVectors
  for (const { name, text, digest } of valid) {
    t.equal(api.encodePolicy(api.decodePolicy(text)), text, name)
    t.equal(createHash('sha256').update(text).digest('hex'), digest, `${name}: digest`)
  }
  for (const { name, text } of invalid) {
    t.throws(() => api.decodePolicy(text), { code: 'PARAPET_RBAC_INVALID_POLICY' }, name)
  }
})
