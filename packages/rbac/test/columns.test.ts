/** Attribute types of database columns: a bad value matches no row, and driver values are read. */
import { createManualClock } from '@parapet/kit'
import { definePolicy, eq, gt, isIn, lte, not, or, type Condition, type Scope } from '@parapet/rbac'
import { openPglite } from '@parapet/testing'
import t from 'tap'
import { constantPolicy } from './arbitraries.ts'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'

const columns = {
  owner: 'uuid',
  account: 'bigint',
  amount: 'decimal',
  state: 'enum',
  due: 'date',
} as const
const OWNER = '0b7f4d3e-6c1a-4a51-9a55-3f2d8e7c9b10'

const attributeTypes = { teams: 'string[]', account: 'string', day: 'date' } as const
type Declared = {
  resources: { doc: typeof columns }
  subject: typeof attributeTypes
  environment: { load: 'number' }
  facts: { friend: 'boolean' }
}
type When = (scope: Scope<'doc:read', Declared>) => Condition

function accessFor(when: When, id: string, attributes: object = {}): Access {
  const policy = definePolicy({
    permissions: ['doc:read'],
    resources: { doc: columns },
    subject: attributeTypes,
    environment: { load: 'number' },
    facts: { friend: 'boolean' },
    roles: { r: { when: { 'doc:read': when } } },
  })
  return new Access(
    constantPolicy(new Engine(compilePolicy(policy))),
    { facts: {}, factTimeoutMs: 1, clock: createManualClock(), challenge: 'Bearer' },
    {
      principal: { id, roles: ['r'] },
      subject: () => ({ ...attributes }),
      environment: () => ({ time: 0 }),
      report: () => {},
    },
  )
}

const BAD = ['ann', '', 'a\0', '1e3', '9999999999999999999', `${OWNER}0`, '2026-02-30']
const cases: readonly (readonly [string, When, string, object, number[]])[] = [
  ['uuid = id', (s) => eq(s.resource.owner, s.subject.id), OWNER, {}, [1]],
  ['uuid in capitals', (s) => eq(s.resource.owner, s.subject.id), OWNER.toUpperCase(), {}, [1]],
  [
    'uuid in a list with bad members',
    (s) => isIn(s.resource.owner, s.subject.teams),
    'x',
    { teams: ['ann', OWNER.toUpperCase()] },
    [1],
  ],
  ['uuid in constants', (s) => isIn(s.resource.owner, [OWNER]), 'x', {}, [1]],
  [
    'bigint = text',
    (s) => eq(s.resource.account, s.subject.account),
    'x',
    { account: '9007199254740993' },
    [1],
  ],
  ['bigint > constant', (s) => gt(s.resource.account, 5n), 'x', {}, [1]],
  [
    'bigint in constants',
    (s) => isIn(s.resource.account, [2n, 9_007_199_254_740_993n]),
    'x',
    {},
    [1, 2],
  ],
  ['decimal <= constant', (s) => lte(s.resource.amount, 0.3), 'x', {}, [1]],
  ['enum', (s) => eq(s.resource.state, 'draft'), 'x', {}, [1]],
  ['enum that does not exist', (s) => not(eq(s.resource.state, 'nowhere')), 'x', {}, [1, 2]],
  ['date', (s) => eq(s.resource.due, s.subject.day), 'x', { day: '2026-03-01' }, [1]],
  ['date order', (s) => gt(s.resource.due, '2026-03-01'), 'x', {}, [2]],
  ['not', (s) => not(eq(s.resource.due, '2026-03-01')), 'x', {}, [2]],
]

const anyOf: When = ({ resource, subject }) =>
  or(
    eq(resource.owner, subject.id),
    eq(resource.account, subject.account),
    eq(resource.due, subject.day),
    eq(resource.state, subject.id),
    isIn(resource.owner, subject.teams),
  )

await t.test('filters of exact columns agree with can() on the values of drivers', async (t) => {
  const db = await openPglite()
  t.after(() => db.close())
  await db.exec(`
    CREATE TYPE doc_state AS ENUM ('draft', 'live');
    CREATE TABLE docs (id int PRIMARY KEY, owner uuid, account bigint, amount numeric,
                       state doc_state, due date);
    INSERT INTO docs VALUES
      (1, '${OWNER}', 9007199254740993, 0.3, 'draft', '2026-03-01'),
      (2, gen_random_uuid(), 2, 0.30000000000000001, 'live', '2026-03-02'),
      (3, NULL, NULL, 'NaN', NULL, 'infinity');`)
  const { rows } = await db.query<{ id: number; due: unknown }>(
    'SELECT id, owner, account::text, amount::text, state, due FROM docs ORDER BY id',
  )
  const select = async (access: Access) => {
    const filter = access.filter('doc:read')
    const { text, values } = filter.sql()
    const query = `SELECT id FROM docs WHERE ${text} ORDER BY id`
    const found = await db.query<{ id: number }>(query, [...values])
    const ids = found.rows.map(({ id }) => id)
    t.same(
      rows.filter((row) => access.can('doc:read', row)).map(({ id }) => id),
      ids,
      'can',
    )
    t.same(
      rows.filter((row) => filter.matches(row)).map(({ id }) => id),
      ids,
      'matches',
    )
    return ids
  }
  for (const [title, when, id, attributes, expected] of cases) {
    t.same(await select(accessFor(when, id, attributes)), expected, title)
  }
  for (const bad of BAD) {
    const attributes = { account: bad, day: bad, teams: [bad] }
    t.same(await select(accessFor(anyOf, bad, attributes)), [], JSON.stringify(bad))
  }
})

await t.test('an explanation shows exact values as they are written', (t) => {
  const access = accessFor(
    ({ resource }) => or(gt(resource.account, 7n), lte(resource.amount, 1.5)),
    'ann',
  )
  t.equal(access.filter('doc:read').text, '(resource.account > 7 or resource.amount ≤ 1.5)')
  t.end()
})
