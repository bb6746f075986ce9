/** Two policies that declare one relation differently: what the comparison and the candidate report. */
import {
  createMemoryRelations,
  definePolicy,
  rbac,
  related,
  type RelationTuple,
} from '@parapet/rbac'
import { runs } from '@parapet/testing'
import Fastify from 'fastify'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { findChain } from '../src/relations/compare-plans.ts'
import { planRelation, type RelationsDocument } from '../src/relations/relation-plan.ts'

const folders = {
  folder: {
    parent: { direct: ['folder'] },
    viewer: { direct: ['user'], includes: ['parent.viewer'] },
  },
}
const inherited = {
  ...folders,
  doc: {
    parent: { direct: ['folder'] },
    viewer: { direct: ['user'], includes: ['parent.viewer'] },
  },
}
const direct = { ...folders, doc: { parent: { direct: ['folder'] }, viewer: { direct: ['user'] } } }

const policyWith = (relations: object, more: object = {}) =>
  definePolicy({
    permissions: ['doc:read', 'doc:write'],
    resources: { doc: { id: 'string', parent: 'string' } },
    relations,
    roles: {
      user: {
        when: {
          'doc:read': { op: 'related', relation: 'doc#viewer', left: { ref: 'resource.id' } },
        },
      },
      chief: { grants: ['doc:write'] },
    },
    ...more,
  } as never)

const principal = () => ({ id: 'ann', roles: ['user'] })
const resource = async ({ params }: { params: unknown }) => ({
  ...(params as object),
  parent: 'other',
})

async function build(t: Test, relations = createMemoryRelations()) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy: policyWith(inherited), relations, principal })
  const rule = { permission: 'doc:read', resource }
  app.get('/doc/:id', { config: { rbac: rule } }, async () => 'ok')
  await app.ready()
  return app
}

await t.test(
  'a relation that changes is a difference, with a chain of tuples as its example',
  async (t) => {
    const app = await build(t)
    const next = policyWith(direct)
    t.same(app.rbac.diff(next).text, [
      'changes the condition of "doc:read" for "user"',
      'changes the rules of "relations"',
    ])
    const { witnesses, incomplete } = app.rbac.witnesses(next)
    t.match(witnesses, [
      {
        role: 'user',
        permission: 'doc:read',
        change: 'loses',
        example: { 'related doc#viewer': 'doc#parent@folder, folder#viewer@user' },
      },
    ])
    t.same([witnesses.length, incomplete], [1, []])
    const same = { ...inherited, group: { member: { direct: ['user'] } } }
    t.same(app.rbac.witnesses(policyWith(same)).witnesses, [])
  },
)

await t.test('separation of duty and fields are differences', async (t) => {
  const app = await build(t)
  const sod = [{ id: 's', roles: ['user', 'chief'], max: 1 }]
  t.same(app.rbac.diff(policyWith(inherited, { sod })).text, ['changes the rules of "sod"'])
  const fields = { doc: { parent: 'doc:write' } }
  t.same(app.rbac.diff(policyWith(inherited, { fields })).text, ['changes the rules of "fields"'])
  t.same(app.rbac.diff(policyWith(inherited, { sod: [], fields: {} })).text, [])
})

await t.test('a candidate is not shown the answers of another relation or object', async (t) => {
  const relations = createMemoryRelations()
  const app = await build(t, relations)
  await relations.write({
    add: [
      {
        object: { type: 'doc', id: '1' },
        relation: 'parent',
        subject: { type: 'folder', id: 'f' },
      },
      {
        object: { type: 'folder', id: 'f' },
        relation: 'viewer',
        subject: { type: 'user', id: 'ann' },
      },
    ],
  })
  const ofParent = definePolicy({
    ...policyWith(inherited),
    roles: {
      user: { when: { 'doc:read': () => related('doc#viewer', { ref: 'resource.parent' }) } },
    },
  } as never)
  for (const [candidate, undecided] of [
    [policyWith(inherited), 0],
    [policyWith(direct), 1],
    [ofParent, 1],
  ] as const) {
    app.rbac.shadow(candidate)
    t.equal((await app.inject('/doc/1')).statusCode, 200)
    t.match(app.rbac.shadowReport(), { decisions: 1, undecided, differences: [] })
  }
})

const TYPES = ['a', 'b'] as const
const relation = fc.record({
  direct: fc.uniqueArray(fc.constantFrom('user', 'user:*', 'a', 'b', 'a#r', 'b#s'), {
    minLength: 1,
    maxLength: 3,
  }),
  includes: fc.uniqueArray(fc.constantFrom('r', 's', 'r.s', 's.r', 'r.r'), { maxLength: 2 }),
})
const document = fc.record(
  Object.fromEntries(TYPES.map((type) => [type, fc.record({ r: relation, s: relation })])),
) as fc.Arbitrary<RelationsDocument>
const ids = fc.constantFrom('1', '2')
const tuple: fc.Arbitrary<RelationTuple> = fc.record({
  object: fc.record({ type: fc.constantFrom(...TYPES), id: ids }),
  relation: fc.constantFrom('r', 's'),
  subject: fc.oneof(
    fc.constant({ type: 'user', id: 'ann' }),
    fc.constant({ type: 'user', everyone: true } as const),
    fc.record({ type: fc.constantFrom(...TYPES), id: ids }),
    fc.constantFrom({ type: 'a', id: '1', relation: 'r' }, { type: 'b', id: '2', relation: 's' }),
  ),
})

/** The tuples of a chain, with new objects. */
function tuplesOf(chain: readonly string[]): RelationTuple[] {
  return chain.map((kind, index) => {
    const [object = '', subject = ''] = kind.split('@')
    const [type = '', name = ''] = object.split('#')
    const [subjectType = '', next] = subject.split(/[#:]/)
    const id = String(index + 1)
    return {
      object: { type, id: String(index) },
      relation: name,
      subject:
        next === '*'
          ? { type: 'user', everyone: true }
          : {
              type: subjectType,
              id: subjectType === 'user' ? 'ann' : id,
              ...(next === undefined ? undefined : { relation: next }),
            },
    }
  })
}

await t.test('plans differ exactly if a chain tells them apart', async (t) => {
  let chains = 0
  await fc.assert(
    fc.asyncProperty(
      document,
      document,
      fc.array(tuple, { maxLength: 8 }),
      async (one, two, tuples) => {
        const [first, second] = [one, two].map((each) => planRelation(each, 'a#r')!) as [
          NonNullable<ReturnType<typeof planRelation>>,
          NonNullable<ReturnType<typeof planRelation>>,
        ]
        const answers = async (all: readonly RelationTuple[], objectId: string) => {
          const store = createMemoryRelations()
          await store.write({ add: all })
          return Promise.all(
            [first, second].map(
              async (plan) => (await store.check('ann', [{ plan, objectId }]))[0],
            ),
          )
        }
        const chain = findChain(first, second)
        if (chain !== undefined) {
          chains++
          const told = await answers(tuplesOf(chain), '0')
          if (String(told) !== 'true,false') throw new Error(`${String(chain)}: ${String(told)}`)
          return
        }
        for (const objectId of ['1', '2']) {
          const [yes, no] = await answers(tuples, objectId)
          if (yes === true && no !== true) throw new Error(`no chain: ${JSON.stringify(tuples)}`)
        }
      },
    ),
    { numRuns: runs(500, 10_000) },
  )
  t.ok(chains > 50, `${chains} chains`)
})
