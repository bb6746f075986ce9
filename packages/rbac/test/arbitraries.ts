/** Generators of policies, conditions, rows and requests for property tests. */
import type { Principal } from '@parapet/kit'
import type { Condition } from '@parapet/rbac'
import fc from 'fast-check'
import type { Engine } from '../src/decide/engine.ts'
import type { PolicyInForce } from '../src/decide/policy-in-force.ts'

export const PERMISSIONS = [
  'doc:read',
  'doc:write',
  'doc:share:link',
  'note:read',
  'note:write',
  'audit',
]
const ROLES = ['r0', 'r1', 'r2', 'r3', 'r4', 'constructor']
const GRANTS = [...PERMISSIONS, 'doc:*', 'doc:share:*', 'note:*', '*']
/** The attributes of every resource type. */
export const schema = {
  owner: 'string',
  state: 'string',
  size: 'number',
  live: 'boolean',
  at: 'time',
  tags: 'string[]',
} as const
export const NOW = Date.UTC(2026, 0, 15, 12)
const WORDS = ['ann', 'bob', '', '\ufffd', `o'"\\`]
/** Strings that PostgreSQL cannot store, or that a driver would change to U+FFFD. */
const UNSTORABLE = ['a\0', '\ud800']
const MOMENTS = [NOW - 1000, NOW, NOW + 1000]
/** Times in the years 10000, 275760, -1 and -1200. */
const FAR = [253_402_300_800_000, 8_640_000_000_000_000, -62_167_219_200_001, -99_999_999_999_999]

const word = fc.constantFrom(...WORDS)
/** Prefixes of words, and the words themselves. */
const path = fc.constantFrom(...WORDS, 'a', 'bob/', '/')
export const refs = {
  string: ['resource.owner', 'resource.state', 'subject.id', 'subject.tenantId', 'subject.dept'],
  number: ['resource.size', 'subject.level', 'environment.load'],
  boolean: ['resource.live', 'fact.friend'],
  time: ['resource.at', 'environment.time', 'subject.authenticatedAt'],
  list: ['resource.tags', 'subject.roles', 'subject.amr'],
} as const
const ref = (kind: keyof typeof refs) =>
  fc.constantFrom(...refs[kind]).map((name) => ({ ref: name }))
const value = (arbitrary: fc.Arbitrary<unknown>) => arbitrary.map((each) => ({ value: each }))
const side = (kind: keyof typeof refs, constant: fc.Arbitrary<unknown>) =>
  fc.oneof(ref(kind), value(constant))

const size = fc.constantFrom(-1, 0, 2.5)
const time = fc.constantFrom(
  ...MOMENTS.map((time) => new Date(time).toISOString()),
  '0000-02-29T00:00:00Z',
)
const leaf: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ op: fc.constantFrom('eq', 'ne'), left: ref('string'), right: side('string', word) }),
  fc.record({ op: fc.constantFrom('eq', 'ne'), left: value(word), right: ref('string') }),
  fc.record({
    op: fc.constantFrom('eq', 'ne'),
    left: ref('boolean'),
    right: side('boolean', fc.boolean()),
  }),
  fc.record({
    op: fc.constantFrom('eq', 'ne', 'lt', 'lte', 'gt', 'gte'),
    left: ref('number'),
    right: side('number', size),
  }),
  fc.record({
    op: fc.constantFrom('eq', 'lt', 'lte', 'gt', 'gte'),
    left: ref('time'),
    right: side('time', time),
  }),
  fc.record({
    op: fc.constant('in'),
    left: ref('string'),
    right: side('list', fc.uniqueArray(word)),
  }),
  fc.record({
    op: fc.constant('in'),
    left: ref('number'),
    right: value(fc.uniqueArray(size, { minLength: 1 })),
  }),
  fc.record({ op: fc.constant('in'), left: value(word), right: ref('list') }),
  fc.record({
    op: fc.constantFrom('containsAny', 'containsAll'),
    left: ref('list'),
    right: side('list', fc.uniqueArray(word, { maxLength: 2 })),
  }),
  fc.record({
    op: fc.constant('containsAll'),
    left: value(fc.uniqueArray(word)),
    right: ref('list'),
  }),
  fc.record({
    op: fc.constantFrom('startsWith', 'under'),
    left: ref('string'),
    right: side('string', path),
  }),
  fc.record({
    op: fc.constantFrom('lt', 'gte'),
    left: ref('time'),
    right: fc.constantFrom(
      { ref: 'environment.time', plusMs: -1000 },
      { ref: 'subject.authenticatedAt', plusMs: 1000 },
    ),
  }),
  fc.record({
    op: fc.constant('exists'),
    left: fc.oneof(ref('string'), ref('number'), ref('time'), ref('list'), ref('boolean')),
  }),
) as fc.Arbitrary<Condition>
/** Any condition. */
export const condition = fc.letrec<{ node: Condition }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.record({ op: fc.constant('not'), of: tie('node') }),
    fc.record({
      op: fc.constantFrom('and', 'or'),
      of: fc.array(tie('node'), { minLength: 1, maxLength: 3 }),
    }),
  ) as fc.Arbitrary<Condition>,
})).node

const grants = (maxLength: number) => fc.uniqueArray(fc.constantFrom(...GRANTS), { maxLength })
/** Any valid policy. */
export const policySource = fc
  .record({
    roles: fc.array(
      fc.record({
        inherits: fc.uniqueArray(fc.nat(5), { maxLength: 2 }),
        grants: grants(2),
        when: fc.dictionary(fc.constantFrom(...GRANTS), condition, { maxKeys: 2 }),
      }),
      { minLength: 6, maxLength: 6 },
    ),
    deny: fc.array(
      fc.record({
        permissions: fc.uniqueArray(fc.constantFrom(...GRANTS), { minLength: 1, maxLength: 2 }),
        roles: fc.option(fc.uniqueArray(fc.constantFrom(...ROLES), { minLength: 1, maxLength: 2 })),
        when: fc.option(condition, { freq: 3 }),
      }),
      { maxLength: 2 },
    ),
    sod: fc.boolean(),
  })
  .map(({ roles, deny, sod }) => ({
    permissions: PERMISSIONS,
    resources: { doc: schema, note: schema, audit: schema },
    subject: { dept: 'string', level: 'number' },
    environment: { load: 'number' },
    facts: { friend: 'boolean' },
    roles: Object.fromEntries(
      roles.map((role, index) => [
        ROLES[index]!,
        // Only earlier roles, so that there is no cycle and no role inherits both r3 and r4.
        {
          ...role,
          inherits: role.inherits
            .filter((each) => each < Math.min(index, 3))
            .map((each) => ROLES[each]!),
        },
      ]),
    ),
    deny: deny.map((rule, index) => ({ ...rule, id: `d${index}` })),
    sod: sod ? [{ id: 's', roles: ['r3', 'r4'], max: 1 }] : [],
  }))

const odd = fc.constantFrom<unknown>(undefined, null, 7, 'seven', NaN, ['a', 1])
const maybe = (arbitrary: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 5, arbitrary }, { weight: 1, arbitrary: odd })
/** Any row; members may be missing or of another type. */
export const row = fc.record({
  owner: maybe(word),
  state: maybe(word),
  size: maybe(size),
  live: maybe(fc.boolean()),
  at: maybe(fc.constantFrom<unknown>(...MOMENTS.map((time) => new Date(time)), ...MOMENTS)),
  tags: maybe(fc.array(word, { maxLength: 3 })),
})
/** Any request for a decision. */
export const request = fc.record({
  principal: fc.record(
    {
      id: fc.constantFrom('ann', 'bob'),
      roles: fc.uniqueArray(fc.constantFrom(...ROLES, 'unknown', '__proto__'), { maxLength: 3 }),
      permissions: fc.uniqueArray(fc.constantFrom(...PERMISSIONS, 'doc:*', 'none'), {
        maxLength: 1,
      }),
      tenantId: word,
      authenticatedAt: fc.constantFrom(...MOMENTS, ...FAR),
      amr: fc.array(fc.constantFrom(...WORDS, ...UNSTORABLE), { maxLength: 2 }),
    },
    { requiredKeys: ['id', 'roles'] },
  ) as fc.Arbitrary<Principal>,
  permission: fc.constantFrom(...PERMISSIONS),
  resource: fc.option(row, { nil: undefined, freq: 5 }),
  subject: fc.record({
    dept: maybe(fc.constantFrom(...WORDS, ...UNSTORABLE)),
    level: maybe(size),
  }),
  load: maybe(size),
  friend: fc.option(fc.boolean(), { nil: undefined }),
})
export type Request = typeof request extends fc.Arbitrary<infer T> ? T : never

/** A policy that never changes. */
export function constantPolicy(engine: Engine): PolicyInForce {
  return {
    engine,
    version: 0,
    stale: false,
    grantedTo: () => undefined,
    nextChange: () => Infinity,
  }
}
