/** Generators of policies with relations, and what follows from tuples by the plainest algorithm. */
import type { Condition, RelationTuple } from '@parapet/rbac'
import fc from 'fast-check'
import type { RelationsDocument } from '../src/relations/relation-plan.ts'
import { condition as attributeCondition, request } from './arbitraries.ts'

export const USERS = ['ann', 'bob', 'eve']
export const IDS = ['1', '2', `o'"\\`, '\ufffd', 'ann', '*']
const TYPES = ['group', 'folder', 'doc'] as const

const SUBJECTS = [
  'user',
  'user:*',
  'group#r0',
  'group#r1',
  'folder#r0',
  'folder#r1',
  'folder',
  'doc',
]
const direct = fc.uniqueArray(fc.constantFrom(...SUBJECTS), { minLength: 1, maxLength: 4 })
const includes = fc.uniqueArray(fc.constantFrom('r0', 'r1', 'r2', 'r2.r0', 'r2.r1', 'r1.r0'), {
  maxLength: 2,
})
const declared = fc.record({ direct, includes })
/** `r2` is always a way to folders, so that `r2.r0` leads somewhere. */
const relationsOf: fc.Arbitrary<RelationsDocument> = fc.record(
  Object.fromEntries(
    TYPES.map((type) => [
      type,
      fc.record({
        r0: declared,
        r1: declared.map((each) => ({ ...each, direct: [...new Set([...each.direct, 'folder'])] })),
        r2: fc.constant({ direct: ['folder', 'user'], includes: [] }),
      }),
    ]),
  ),
)
const tuple: fc.Arbitrary<RelationTuple> = fc.record({
  object: fc.record({ type: fc.constantFrom(...TYPES), id: fc.constantFrom(...IDS) }),
  relation: fc.constantFrom('r0', 'r1', 'r2'),
  subject: fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ type: fc.constant('user'), id: fc.constantFrom(...USERS) }),
    },
    fc.constant({ type: 'user', everyone: true } as const),
    {
      weight: 3,
      arbitrary: fc.record({ type: fc.constantFrom(...TYPES), id: fc.constantFrom(...IDS) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        type: fc.constantFrom('group', 'folder'),
        id: fc.constantFrom(...IDS),
        relation: fc.constantFrom('r0', 'r1'),
      }),
    },
  ),
})

/** Relations that every subject can have, and many tuples: walks are long. */
export const dense = {
  relations: Object.fromEntries(
    TYPES.map((type) => [
      type,
      {
        r0: { direct: SUBJECTS.filter((each) => each !== 'user:*'), includes: ['r1'] },
        r1: { direct: SUBJECTS, includes: ['r2.r1'] },
        r2: { direct: ['folder', 'user'], includes: [] },
      },
    ]),
  ),
  tuples: fc.array(tuple, { minLength: 10, maxLength: 50 }),
}

const key = fc.constantFrom('doc#r0', 'doc#r1', 'folder#r0', 'group#r1')
const leaf: fc.Arbitrary<Condition> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('related'),
      relation: key,
      left: fc.constantFrom(
        { ref: 'resource.id' },
        { ref: 'resource.parent' },
        { ref: 'subject.tenantId' },
      ),
    }),
  },
  fc.constantFrom<Condition>(
    { op: 'eq', left: { ref: 'resource.owner' }, right: { ref: 'subject.id' } },
    { op: 'exists', left: { ref: 'resource.parent' } },
  ),
  // Rows cannot be selected by a fact.
  attributeCondition.filter((each) => !JSON.stringify(each).includes('fact.')),
) as fc.Arbitrary<Condition>
const condition = fc.letrec<{ node: Condition }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 3 },
    leaf,
    fc.record({ op: fc.constant('not'), of: tie('node') }),
    fc.record({
      op: fc.constantFrom('and', 'or'),
      of: fc.array(tie('node'), { minLength: 1, maxLength: 3 }),
    }),
  ) as fc.Arbitrary<Condition>,
})).node

/** A policy with relations, tuples, and conditions on relations and attributes. */
export const scenario = fc.record({
  relations: relationsOf,
  tuples: fc.array(tuple, { minLength: 5, maxLength: 25 }),
  grant: condition,
  deny: fc.option(condition, { freq: 2 }),
  asked: request,
  user: fc.constantFrom(...USERS),
  tenantId: fc.constantFrom(...IDS),
})

/** One relation of a principal, as a text. */
export const name = (type: string, id: string, relation: string) =>
  JSON.stringify([type, id, relation])

/** Everything that follows from the tuples, by repeating the rules until nothing is new. */
export function naive(
  relations: RelationsDocument,
  tuples: readonly RelationTuple[],
  principal: string,
): ReadonlySet<string> {
  const holds = new Set<string>()
  const allowed = tuples.filter(({ object, relation, subject }) => {
    const kind =
      'everyone' in subject
        ? 'user:*'
        : subject.relation === undefined
          ? subject.type
          : `${subject.type}#${subject.relation}`
    return relations[object.type]![relation]!.direct.includes(kind)
  })
  for (let size = -1; size !== holds.size;) {
    size = holds.size
    for (const { object, relation, subject } of allowed) {
      const isHeld =
        'everyone' in subject ||
        (subject.type === 'user' && subject.id === principal) ||
        (subject.relation !== undefined &&
          holds.has(name(subject.type, subject.id, subject.relation)))
      if (isHeld) holds.add(name(object.type, object.id, relation))
      if ('everyone' in subject || subject.relation !== undefined) continue
      for (const [target, { includes: list }] of Object.entries(relations[object.type]!)) {
        for (const each of list) {
          const [link, next] = each.split('.')
          if (
            next !== undefined &&
            link === relation &&
            holds.has(name(subject.type, subject.id, next))
          ) {
            holds.add(name(object.type, object.id, target))
          }
        }
      }
    }
    for (const [type, members] of Object.entries(relations)) {
      for (const [target, { includes: list }] of Object.entries(members)) {
        for (const id of IDS)
          if (list.some((each) => holds.has(name(type, id, each))))
            holds.add(name(type, id, target))
      }
    }
  }
  return holds
}
