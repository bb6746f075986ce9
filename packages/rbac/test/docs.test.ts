import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as api from '@parapet/rbac'
import { checkPluginDocs } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)

await t.test('README and exports agree with the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'rbac',
    names: [
      'after',
      'and',
      'before',
      'cidr',
      'containsAll',
      'containsAny',
      'createMemoryPolicyStore',
      'createMemoryRelations',
      'createPostgresPolicyStore',
      'createPostgresRelations',
      'createRelations',
      'decodePolicy',
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
      'isUnder',
      'lt',
      'lte',
      'ne',
      'not',
      'or',
      'plus',
      'related',
      'startsWith',
      'testMatrix',
    ],
    options: optionTable,
    events,
  }),
)

interface PolicyVectors {
  readonly valid: readonly {
    readonly name: string
    readonly text: string
    readonly digest: string
  }[]
  readonly invalid: readonly { readonly name: string; readonly text: string }[]
}

await t.test('the stored form of a policy agrees with its specification', async (t) => {
  const file = new URL('../../../docs/spec/vectors/rbac-policy.json', import.meta.url)
  const { valid, invalid } = JSON.parse(readFileSync(file, 'utf8')) as PolicyVectors
  for (const { name, text, digest } of valid) {
    t.equal(api.encodePolicy(api.decodePolicy(text)), text, name)
    t.equal(createHash('sha256').update(text).digest('hex'), digest, `${name}: digest`)
  }
  for (const { name, text } of invalid) {
    t.throws(
      () => api.decodePolicy(text),
      { code: 'PARAPET_RBAC_INVALID_POLICY', statusCode: 500 },
      name,
    )
  }
})
