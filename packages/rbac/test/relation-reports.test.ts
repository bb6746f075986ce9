/** Faults that were reported of other systems with relations: none of them is one here. */
import { createSqlClient } from '@parapet/kit'
import {
  createMemoryRelations,
  createPostgresRelations,
  type RelationStore,
  type RelationSubject,
  type RelationTuple,
} from '@parapet/rbac'
import { usePostgres } from '@parapet/testing'
import t, { type Test } from 'tap'
import { planRelation, type RelationsDocument } from '../src/relations/relation-plan.ts'
import { AnswerCache } from '../src/tuples/answer-cache.ts'

const declare = (direct: readonly string[], ...includes: readonly string[]) => ({
  direct,
  includes,
})
const user = (id: string): RelationSubject => ({ type: 'user', id })
const everyone: RelationSubject = { type: 'user', everyone: true }

interface Report {
  readonly relations: RelationsDocument
  readonly tuples: readonly (readonly [
    object: string,
    relation: string,
    subject: RelationSubject,
  ])[]
  /** By principal: the documents that it views. */
  readonly expected: Readonly<Record<string, readonly string[]>>
}

const group = { member: declare(['user', 'group#member']) }
const folder = { viewer: declare(['user']), parent: declare(['folder']) }

const reports: Readonly<Record<string, Report>> = {
  'OpenFGA CVE-2022-39352: everyone as the parent of a document': {
    relations: {
      folder,
      doc: {
        parent: declare(['folder', 'user:*']),
        viewer: declare(['user'], 'parent.viewer'),
      },
    },
    tuples: [
      ['doc:1', 'parent', everyone],
      ['folder:f', 'viewer', user('ann')],
    ],
    expected: { ann: [], bob: [] },
  },
  'OpenFGA CVE-2023-40579: a relation of the parent that the document does not include': {
    relations: {
      folder: { ...folder, owner: declare(['user']) },
      doc: { parent: declare(['folder']), viewer: declare([], 'parent.viewer') },
    },
    tuples: [
      ['doc:1', 'parent', { type: 'folder', id: 'f' }],
      ['folder:f', 'owner', user('ann')],
      ['folder:f', 'viewer', user('bob')],
    ],
    expected: { ann: [], bob: ['1'] },
  },
  'OpenFGA CVE-2025-25196: public access and a group that has none': {
    relations: { group, doc: { viewer: declare(['user', 'user:*', 'group#member']) } },
    tuples: [
      ['doc:1', 'viewer', everyone],
      ['doc:2', 'viewer', { type: 'group', id: 'staff', relation: 'member' }],
      ['group:staff', 'member', user('ann')],
    ],
    expected: { ann: ['1', '2'], staff: ['1'], 'staff#member': ['1'], 'group:staff#member': ['1'] },
  },
  'OpenFGA CVE-2026-24851: public access to one document, and a share of a later one': {
    relations: { doc: { viewer: declare(['user', 'user:*']) } },
    tuples: [
      ['doc:a', 'viewer', everyone],
      ['doc:z', 'viewer', user('ann')],
      ['doc:m', 'viewer', user('bob')],
    ],
    expected: { ann: ['a', 'z'], bob: ['a', 'm'], eve: ['a'] },
  },
  'SpiceDB CVE-2025-65111: a relation on both sides of a union, once as a way': {
    relations: {
      group: { special: declare(['user']), member: declare(['user']) },
      doc: {
        reader: declare(['user', 'group']),
        viewer: declare([], 'reader', 'reader.special'),
      },
    },
    tuples: [
      ['doc:1', 'reader', user('ann')],
      ['doc:2', 'reader', { type: 'group', id: 'g' }],
      ['group:g', 'special', user('ann')],
      ['group:g', 'member', user('bob')],
    ],
    expected: { ann: ['1', '2'], bob: [], g: [] },
  },
  'SpiceDB CVE-2025-49011: two ways, the first of which ends nowhere': {
    relations: {
      office: { parent: declare(['office']), read: declare(['user'], 'parent.read') },
      team: { parent: declare(['office']), read: declare([], 'parent.read') },
      doc: { owner: declare(['team']), viewer: declare([], 'owner.read') },
    },
    tuples: [
      ['office:head', 'read', user('ann')],
      ['office:branch', 'parent', { type: 'office', id: 'head' }],
      ['team:a', 'parent', { type: 'office', id: 'nowhere' }],
      ['team:b', 'parent', { type: 'office', id: 'branch' }],
      ['doc:1', 'owner', { type: 'team', id: 'a' }],
      ['doc:1', 'owner', { type: 'team', id: 'b' }],
    ],
    expected: { ann: ['1'], bob: [] },
  },
  'ids that look like other tuples, or like the same text in another form': {
    relations: { group, doc: { viewer: declare(['user', 'group#member']) } },
    tuples: [
      ['doc:1#viewer@user:*', 'viewer', user('ann')],
      ['doc:\u00e9', 'viewer', user('e\u0301')],
      ['doc:K', 'viewer', user('\u212a')],
      ['doc:2', 'viewer', { type: 'group', id: 'a#member', relation: 'member' }],
      ['group:a', 'member', user('eve')],
      ['group:a#member', 'member', user('bob')],
      ['doc:3', 'viewer', user(' ann')],
    ],
    expected: {
      ann: ['1#viewer@user:*'],
      'e\u0301': ['\u00e9'],
      '\u00e9': [],
      '\u212a': ['K'],
      K: [],
      k: [],
      bob: ['2'],
      eve: [],
      ANN: [],
    },
  },
}

async function createStores(t: Test): Promise<Readonly<Record<string, RelationStore>>> {
  const memory = createMemoryRelations()
  const fixture = await usePostgres(t)
  if (fixture === null) return { memory }
  return { memory, PostgreSQL: await createPostgresRelations(createSqlClient(fixture.pool)) }
}

function tupleOf([object, relation, subject]: Report['tuples'][number]): RelationTuple {
  const colon = object.indexOf(':')
  return {
    object: { type: object.slice(0, colon), id: object.slice(colon + 1) },
    relation,
    subject,
  }
}

await t.test('checks and lists of reported faults', async (t) => {
  for (const [title, { relations, tuples, expected }] of Object.entries(reports)) {
    await t.test(title, async (t) => {
      const plan = planRelation(relations, 'doc#viewer')!
      const add = tuples.map(tupleOf)
      const docs = [
        ...new Set(add.flatMap(({ object }) => (object.type === 'doc' ? object.id : []))),
      ]
      for (const [name, store] of Object.entries(await createStores(t))) {
        await store.write({ add })
        for (const [principal, ids] of Object.entries(expected)) {
          const questions = docs.map((objectId) => ({ plan, objectId }))
          // Twice: the second answers come from the cache.
          for (let round = 0; round < 2; round++) {
            const answers = await store.check(principal, questions)
            const found = docs.filter((_, index) => answers[index] === true)
            t.same(found.toSorted(), ids.toSorted(), `${name}: a check of ${principal}`)
          }
          const list = await store.list(principal, plan, { limit: 10 })
          t.same([...list.ids].toSorted(), ids.toSorted(), `${name}: a list of ${principal}`)
        }
      }
    })
  }
})

await t.test('OpenFGA CVE-2026-33729: no two questions have one key in a cache', (t) => {
  const cache = new AnswerCache(100)
  const plan = planRelation(reports[Object.keys(reports)[3]!]!.relations, 'doc#viewer')!
  const pairs = [
    ['a', 'b'],
    ['a","b', ''],
    ['', 'a","b'],
    ['a b', 'c'],
    ['a', 'b c'],
    ['["a"]', 'b'],
    ['a\\', '"b'],
    ['a\\"', 'b'],
  ] as const
  for (const [index, [principal, objectId]] of pairs.entries()) {
    t.equal(cache.get(principal, [{ plan, objectId }]), undefined)
    cache.set('1', principal, [{ plan, objectId }], [index % 2 === 0])
  }
  for (const [index, [principal, objectId]] of pairs.entries()) {
    t.same(cache.get(principal, [{ plan, objectId }])?.answers, [index % 2 === 0])
  }
  t.end()
})
