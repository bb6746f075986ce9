/** What a policy may say, and what engine, explanation and filter make of it. */
import { PGlite } from '@electric-sql/pglite'
import { createManualClock, type Principal } from '@parapet/kit'
import {
  after,
  and,
  before,
  cidr,
  decodePolicy,
  definePolicy,
  during,
  encodePolicy,
  eq,
  exists,
  fromMap,
  gt,
  gte,
  has,
  isIn,
  lt,
  lte,
  ne,
  not,
  or,
  type Condition,
  type PolicyDocument,
  type TimeWindow,
} from '@parapet/rbac'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import t from 'tap'
import { Access } from '../src/access.ts'
import { Engine } from '../src/engine.ts'
import { explain } from '../src/explain.ts'
import { createFilter } from '../src/filter.ts'
import { createModel } from '../src/model.ts'
import { createTimeWindow } from '../src/time-window.ts'

type Attributes = Readonly<Record<string, unknown>>
type Truth = boolean | null

const PERMISSIONS = ['doc:read', 'doc:write', 'doc:share:link', 'note:read', 'note:write', 'audit']
const ROLES = ['r0', 'r1', 'r2', 'r3', 'r4', 'constructor']
const GRANTS = [...PERMISSIONS, 'doc:*', 'doc:share:*', 'note:*', '*']
const schema = {
  owner: 'string',
  state: 'string',
  size: 'number',
  live: 'boolean',
  at: 'time',
  tags: 'string[]',
} as const
const NOW = Date.UTC(2026, 0, 15, 12)
const WORDS = ['ann', 'bob', '', '\ufffd', `o'"\\`]
/** What no text of PostgreSQL can be, and what a driver would write as U+FFFD. */
const UNSTORABLE = ['a\0', '\ud800']
const MOMENTS = [NOW - 1000, NOW, NOW + 1000]
/** The years 10000 and 275760, and two before Christ. */
const FAR = [253_402_300_800_000, 8_640_000_000_000_000, -62_167_219_200_001, -99_999_999_999_999]

const word = fc.constantFrom(...WORDS)
const refs = {
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
const moment = fc.constantFrom(
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
    right: side('time', moment),
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
    op: fc.constant('exists'),
    left: fc.oneof(ref('string'), ref('number'), ref('time'), ref('list'), ref('boolean')),
  }),
) as fc.Arbitrary<Condition>
const condition = fc.letrec<{ node: Condition }>((tie) => ({
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
const policySource = fc
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
        // Only earlier roles: no cycle, and r3 and r4 never meet by inheritance alone.
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
const row = fc.record({
  owner: maybe(word),
  state: maybe(word),
  size: maybe(size),
  live: maybe(fc.boolean()),
  at: maybe(fc.constantFrom<unknown>(...MOMENTS.map((time) => new Date(time)), ...MOMENTS)),
  tags: maybe(fc.array(word, { maxLength: 3 })),
})
const request = fc.record({
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
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never

/** The oracle: no bits, no compilation, no sharing; only what the specification says. */
function oracle(policy: PolicyDocument, asked: Request): boolean {
  const held = new Set<string>()
  const visit = (role: string): void => {
    if (!Object.hasOwn(policy.roles, role) || held.has(role)) return
    held.add(role)
    policy.roles[role]!.inherits.forEach(visit)
  }
  asked.principal.roles.forEach(visit)
  if (policy.sod.some(({ roles, max }) => roles.filter((role) => held.has(role)).length > max))
    return false
  const covers = (grant: string) =>
    grant === '*' ||
    grant === asked.permission ||
    (grant.endsWith('*') && asked.permission.startsWith(grant.slice(0, -1)))
  const roles = [...held].map((role) => policy.roles[role]!)
  const granted =
    asked.principal.permissions?.includes(asked.permission) === true ||
    roles.some((role) => role.grants.some(covers)) ||
    roles.some(({ when }) =>
      Object.entries(when).some(([grant, tree]) => covers(grant) && truth(tree, asked) === true),
    )
  const denied = policy.deny.some(
    (rule) =>
      (rule.roles === null || rule.roles.some((role) => held.has(role))) &&
      rule.permissions.some(covers) &&
      (rule.when === null || truth(rule.when, asked) !== false),
  )
  return granted && !denied
}

function truth(tree: Condition, asked: Request): Truth {
  if (tree.op === 'not') {
    const inner = truth(tree.of, asked)
    return inner === null ? null : !inner
  }
  if (tree.op === 'and' || tree.op === 'or') {
    const parts = tree.of.map((part) => truth(part, asked))
    if (parts.includes(tree.op === 'or')) return tree.op === 'or'
    return parts.includes(null) ? null : tree.op === 'and'
  }
  if (tree.op === 'exists') return read(tree.left.ref, asked) !== undefined
  if (tree.op === 'cidr' || tree.op === 'during') throw new Error('not generated')
  const times = [tree.left, tree.right].some(
    (each) => 'ref' in each && refs.time.includes(each.ref as never),
  )
  const [left, right] = [tree.left, tree.right].map((each) => {
    if ('ref' in each) return read(each.ref, asked)
    return times ? Date.parse(String(each.value)) : each.value
  }) as [never, never]
  if (left === undefined || right === undefined) return null
  if (tree.op === 'in') {
    if ((right as unknown[]).includes(left)) return true
    return (right as unknown[]).every((each) => typeof each === typeof left) ? false : null
  }
  return {
    eq: left === right,
    ne: left !== right,
    lt: left < right,
    lte: left <= right,
    gt: left > right,
    gte: left >= right,
  }[tree.op]
}

function read(name: string, { principal, resource, subject, load, friend }: Request): unknown {
  const [root, key] = name.split('.') as [string, string]
  const sources: Record<string, Attributes | undefined> = {
    subject: {
      ...subject,
      id: principal.id,
      tenantId: principal.tenantId,
      authenticatedAt: principal.authenticatedAt,
      roles: principal.roles,
      amr: principal.amr,
    },
    resource,
    environment: { time: NOW, load },
    fact: { friend },
  }
  const found = sources[root]?.[key]
  if (refs.time.includes(name as never)) {
    return found instanceof Date
      ? found.getTime()
      : typeof found === 'number' && !Number.isNaN(found)
        ? found
        : undefined
  }
  if (refs.list.includes(name as never)) return Array.isArray(found) ? found : undefined
  const kind = (['string', 'number', 'boolean'] as const).find((each) =>
    refs[each].includes(name as never),
  )
  return typeof found === kind && !Number.isNaN(found) ? found : undefined
}

function accessOf(engine: Engine, { principal, subject, load, friend }: Request): Access {
  const facts = { friend: () => friend }
  return new Access(
    engine,
    { facts, factTimeoutMs: 1000, clock: createManualClock(NOW), challenge: 'Bearer' },
    {
      principal,
      granted: undefined,
      stale: false,
      environment: () => ({ time: NOW, ip: undefined, attributes: { load } }),
      subject: () => subject,
      report: () => {},
    },
  )
}

const deep = (levels: number): Condition =>
  levels === 0 ? eq({ ref: 'subject.id' }, 'x') : not(deep(levels - 1))

await t.test('a policy that names what it does not declare is refused, fault by fault', (t) => {
  const base = {
    permissions: ['doc:read', 'doc:write'],
    resources: { doc: { ownerId: 'string', size: 'number', at: 'time' } },
    roles: { reader: { grants: ['doc:read'] } },
  } as const
  const refused: readonly [object, RegExp][] = [
    [
      { roles: { r: { grants: ['doc:raed'] } } },
      /roles\.r\.grants: names the permission "doc:raed"/,
    ],
    [{ roles: { r: { grants: ['nope:*'] } } }, /names the permission "nope:\*"/],
    [{ roles: { r: { inherits: ['ghost'] } } }, /roles\.r\.inherits: names the role "ghost"/],
    [
      {
        roles: {
          a: { inherits: ['c'] },
          b: { inherits: ['a'] },
          c: { inherits: ['b'] },
          d: { inherits: ['a'] },
        },
      },
      /inherit in a circle: a → c → b → a/,
    ],
    [{ roles: { a: { inherits: ['a'] } } }, /circle: a → a/],
    [
      { roles: { r: { when: { 'doc:read': eq({ ref: 'resource.owner' }, 'x') } } } },
      /"resource\.owner", which is not declared/,
    ],
    [
      { roles: { r: { when: { 'doc:read': eq({ ref: 'request.id' }, 'x') } } } },
      /"request\.id", which is not declared/,
    ],
    [
      {
        roles: {
          r: { when: { 'doc:read': { op: 'eq', left: { value: 1 }, right: { value: 1 } } } },
        },
      },
      /two constants/,
    ],
    [
      { roles: { r: { when: { 'doc:read': lt({ ref: 'resource.ownerId' }, 3) } } } },
      /lt cannot compare/,
    ],
    [
      { roles: { r: { when: { 'doc:read': eq({ ref: 'resource.size' }, '3' as never) } } } },
      /eq cannot compare/,
    ],
    [
      { roles: { r: { when: { 'doc:read': { op: 'regex', left: 'x' } } } } },
      /unknown operator "regex"/,
    ],
    [
      { roles: { r: { when: { 'doc:read': cidr({ ref: 'resource.ownerId' }, ['10.0.0.0/8']) } } } },
      /cidr cannot look at resource/,
    ],
    [
      { roles: { r: { when: { 'doc:read': cidr({ ref: 'environment.ip' }, ['10.0.0.1/8']) } } } },
      /cidr: .*bits set/,
    ],
    [
      {
        roles: {
          r: {
            when: {
              'doc:read': during({ ref: 'environment.time' }, { from: '8:00', until: '18:00' }),
            },
          },
        },
      },
      /from: cannot be the name "8:00"/,
    ],
    [
      {
        roles: {
          r: {
            when: {
              'doc:read': during(
                { ref: 'environment.time' },
                { from: '08:00', until: '18:00', timeZone: 'Mars/Base' },
              ),
            },
          },
        },
      },
      /during: Invalid time zone/,
    ],
    [
      { deny: [{ id: 'd', permissions: ['doc:gone'] }] },
      /deny\.d: names the permission "doc:gone"/,
    ],
    [{ deny: [{ id: 'd', permissions: [] }] }, /deny\.d: names no permission/],
    [{ deny: [{ id: 'd', permissions: ['*'], roles: [] }] }, /deny\.d: names no role/],
    [
      { roles: { r: { when: { 'doc:read': and() } } } },
      /\.of: must be an array of 1 to 1000 conditions/,
    ],
    [{ roles: { r: { when: { 'doc:read': { op: 'not' } } } } }, /\.not: has the unknown operator/],
    [
      {
        roles: {
          r: {
            when: { 'doc:read': { op: 'eq', left: { value: null }, right: { ref: 'subject.id' } } },
          },
        },
      },
      /\.left: must be an attribute, or a text/,
    ],
    [{ roles: { r: { when: { 'doc:read': deep(40) } } } }, /nests deeper than 32/],
    [{ deny: 'all' }, /deny: must be an array/],
    [
      {
        deny: [
          { id: 'd', permissions: ['*'] },
          { id: 'd', permissions: ['*'] },
        ],
      },
      /deny\.d: is there twice/,
    ],
    [{ sod: [{ id: 's', roles: ['reader'] }] }, /sod\[0\]\.max/],
    [{ sod: [{ id: 's', roles: ['reader', 'ghost'] }] }, /sod\.s: names the role "ghost"/],
    [
      { roles: { a: {}, b: { inherits: ['a'] } }, sod: [{ id: 's', roles: ['a', 'b'] }] },
      /roles\.b: holds, with what it inherits, roles that sod\.s keeps apart/,
    ],
    [
      { fields: { doc: { x: 'doc:gone' } } },
      /fields\.doc\.x: must name a declared permission of "doc"/,
    ],
    [{ permissions: ['doc:read', 'doc:read'] }, /permissions: names "doc:read" twice/],
    [{ permissions: ['doc:*'] }, /cannot be the name "doc:\*"/],
    [{ permissions: ['doc read'] }, /cannot be the name "doc read"/],
    [{ roles: { ' r': {} } }, /cannot be the name " r"/],
    [
      { roles: { r: { grant: ['doc:read'] } } },
      /roles\.r\.grant: is unknown; known are inherits, grants, when/,
    ],
    [{ rolls: {} }, /policy\.rolls: is unknown/],
    [{ resources: { doc: { ownerId: 'uuid' } } }, /must be one of string, boolean, number, time/],
    [{ roles: [] }, /roles: must be an object/],
  ]
  for (const [change, message] of refused) {
    t.throws(
      () => definePolicy({ ...base, ...change }),
      { code: 'PARAPET_RBAC_INVALID_POLICY', message },
      String(message),
    )
  }
  t.throws(
    () =>
      definePolicy({
        ...base,
        roles: {
          r: { when: { 'doc:read': ({ resource }) => eq((resource as never)['ownr'], 'x') } },
        },
      }),
    { message: /"resource\.ownr", which is not declared; declared are ownerId, size, at/ },
    'a function that builds a condition, too',
  )
  t.throws(() => fromMap({ 'doc:read': 'reader' } as never), {
    message: /must list its roles in an array/,
  })
  t.throws(
    () =>
      definePolicy({
        ...base,
        roles: { a: { grants: ['x:y' as never], inherits: ['b' as never] } },
      }),
    { message: /"b"[^]*x:y/ },
    'all faults at once',
  )
  t.end()
})

await t.test('a filter is SQL with quoted names and numbered parameters', (t) => {
  const policy = definePolicy({
    permissions: ['doc:read'],
    resources: { doc: schema },
    roles: {
      r: {
        when: {
          'doc:read': ({ resource, subject, environment }) =>
            or(
              and(ne(resource.owner, subject.id), gt(resource.size, 3), gte(resource.size, 1)),
              and(lte(resource.at, environment.time), not(exists(resource.state))),
              and(isIn(resource.state, ['a', 'b']), has(resource.tags, resource.owner)),
              and(isIn(resource.owner, subject.amr), before(resource.at, new Date(NOW))),
              and(
                after(resource.at, environment.time),
                isIn(resource.size, [1, 2]),
                cidr(environment.ip, ['10.0.0.0/8']),
              ),
            ),
        },
      },
    },
    deny: [{ id: 'd', permissions: ['*'], when: ({ resource }) => eq(resource.live, false) }],
  })
  const engine = new Engine(createModel(policy))
  const context = {
    principal: { id: 'ann', roles: ['r'], amr: [] },
    subject: undefined,
    resource: undefined,
    environment: { time: NOW, ip: '10.1.2.3' },
    facts: undefined,
  }
  const filter = createFilter(engine, engine.subjectOf(context.principal), 0, context)
  const { text, values } = filter.sql({
    columns: { owner: 'd."x', at: 's.d.at' },
    firstParameter: 7,
  })
  const at = `date_trunc('milliseconds', "s"."d"."at")`
  const now = new Date(NOW).toISOString()
  t.equal(
    text,
    `(((("d"."""x" <> $7) AND (NULLIF("size"::float8, 'NaN') > $8) AND (NULLIF("size"::float8, 'NaN') >= $9)) ` +
      `OR ((${at} <= $10::timestamptz) AND (NOT ("state" IS NOT NULL))) ` +
      `OR (("state" = ANY ($11)) AND (CASE WHEN "d"."""x" IS NULL THEN NULL ELSE ("d"."""x" = ANY ("tags")) END)) ` +
      `OR (("d"."""x" <> "d"."""x") AND (${at} < $12::timestamptz)) ` +
      `OR ((${at} > $13::timestamptz) AND (NULLIF("size"::float8, 'NaN') = ANY ($14)))) ` +
      `AND (("live" = $15)) IS FALSE)`,
  )
  t.same(values, ['ann', 3, 1, now, ['a', 'b'], now, now, [1, 2], false])
  t.match(
    filter.text,
    /resource\.owner ≠ "ann" and resource\.size > 3.* and not resource\.live = false/,
  )
  for (const naming of [
    { columns: { owner: '' } },
    { columns: { owner: 'a..b' } },
    { columns: { owner: 'a\0' } },
    { firstParameter: 0 },
    { firstParameter: 1.5 },
  ]) {
    t.throws(
      () => filter.sql(naming),
      { code: 'PARAPET_RBAC_INVALID_ARGUMENT' },
      JSON.stringify(naming),
    )
  }
  t.end()
})

await t.test('a moment of a condition is a moment', (t) => {
  t.throws(() => before({ ref: 'environment.time' }, new Date(NaN)), {
    code: 'PARAPET_RBAC_INVALID_ARGUMENT',
  })
  for (const window of [
    { from: '08:00', until: '08:00' },
    { from: '08:00', until: '25:00' },
    { from: '08:60', until: '09:00' },
    { from: '08:00', until: '09:00', days: [] },
    { from: '08:00', until: '09:00', days: ['moonday' as never] },
  ]) {
    t.throws(
      () => createTimeWindow({ days: ['mon'], timeZone: 'UTC', ...window }),
      RangeError,
      JSON.stringify(window),
    )
  }
  t.end()
})

await t.test('a policy is frozen data, equal however it was written', (t) => {
  const written = definePolicy({
    permissions: ['doc:read'],
    resources: { doc: { at: 'time', ownerId: 'string' } },
    roles: {
      r: {
        when: {
          'doc:read': ({ resource, subject }) =>
            and(eq(resource.ownerId, subject.id), before(resource.at, new Date(NOW))),
        },
      },
    },
  })
  t.ok(
    Object.isFrozen(written) &&
      Object.isFrozen(written.roles) &&
      Object.isFrozen(written.roles.r.grants),
  )
  t.same(definePolicy(JSON.parse(JSON.stringify(written)) as never), written)
  t.same(fromMap({ 'doc:read': ['r'], 'doc:write': ['r', 's'] }).roles, {
    r: { inherits: [], grants: ['doc:read', 'doc:write'], when: {} },
    s: { inherits: [], grants: ['doc:write'], when: {} },
  })
  t.end()
})

const open = (window: Partial<TimeWindow>, iso: string) =>
  createTimeWindow({
    from: '08:00',
    until: '18:00',
    days: ['mon', 'fri'],
    timeZone: 'UTC',
    ...window,
  })(Date.parse(iso))

await t.test('time windows follow the clock on the wall, over midnight and summer time', (t) => {
  t.equal(open({}, '2026-01-05T08:00:00Z'), true, 'Monday')
  t.equal(open({}, '2026-01-05T18:00:00Z'), false, 'until is outside')
  t.equal(open({}, '2026-01-06T12:00:00Z'), false, 'Tuesday')
  const night = { from: '22:00', until: '06:00' }
  t.equal(open(night, '2026-01-05T23:00:00Z'), true)
  t.equal(open(night, '2026-01-06T05:59:00Z'), true, 'it opened on Monday')
  t.equal(open(night, '2026-01-05T05:59:00Z'), false, 'it opened on Sunday')
  t.equal(open({ timeZone: 'Europe/Berlin' }, '2026-01-05T07:00:00Z'), true, 'winter')
  t.equal(open({ timeZone: 'Europe/Berlin' }, '2026-07-06T06:00:00Z'), true, 'summer')
  t.equal(open({ from: '00:00', until: '24:00' }, '2026-01-05T23:59:59Z'), true)
  t.equal(
    createTimeWindow({ from: '08:00', until: '09:00', days: ['mon'], timeZone: 'UTC' })(Infinity),
    false,
  )
  t.end()
})

await t.test('engine and explanation agree with a naive reading of the policy', async (t) => {
  const perPolicy = 20
  let pairs = 0
  let allowed = 0
  await fc.assert(
    fc.asyncProperty(
      policySource,
      fc.array(request, { minLength: perPolicy, maxLength: perPolicy }),
      async (source, requests) => {
        const policy = definePolicy(source as never)
        const engine = new Engine(createModel(policy))
        const pairsOfPolicy = requests.flatMap((asked) =>
          PERMISSIONS.map((permission) => ({ ...asked, permission })),
        )
        for (const asked of pairsOfPolicy) {
          const expected = oracle(policy, asked)
          const { principal, permission, resource, subject, load, friend } = asked
          const node = { op: 'permission', permission } as const
          const decision = await accessOf(engine, asked).decide(node, [permission], resource)
          const explanation = explain(engine.model, principal.roles, permission, {
            principal,
            subject,
            resource,
            environment: { time: NOW, attributes: { load } },
            facts: new Map([['friend', friend]]),
          })
          pairs++
          if (expected) allowed++
          if (
            decision.allowed !== expected ||
            explanation.allowed !== expected ||
            explanation.reason !== decision.reason
          ) {
            throw new Error(
              `${permission}: oracle ${expected}, engine ${JSON.stringify(decision)}, explanation ${explanation.text}`,
            )
          }
        }
      },
    ),
    { numRuns: runs(850, 6000) },
  )
  t.ok(pairs >= 100_000, `${pairs} pairs, ${allowed} of them allowed, 0 mismatches`)
  t.ok(allowed > pairs / 10 && allowed < (pairs * 9) / 10, 'both answers are common')
})

await t.test('a policy survives its stored form, and the stored form is unique', (t) => {
  fc.assert(
    fc.property(policySource, (source) => {
      const policy = definePolicy(source as never)
      const text = encodePolicy(policy)
      return encodePolicy(decodePolicy(text)) === text
    }),
    { numRuns: runs(100, 1000) },
  )
  t.pass('encode and decode are inverse')
  t.end()
})

const text = (value: unknown) => (typeof value === 'string' ? value : null)
const idOf = ({ id }: { readonly id: number }) => id

await t.test(
  'a filter passes the very rows that a check passes, as predicate and as SQL',
  async (t) => {
    const db = await PGlite.create()
    t.teardown(() => db.close())
    await db.exec(`CREATE TABLE docs (id int PRIMARY KEY, owner_id text, state text, size float8,
                 live boolean, "at" timestamptz, tags text[])`)
    const rows = fc
      .sample(row, { numRuns: 60, seed: 4 })
      .map((each, id) => ({ id, ...asRow(each) }))
    for (const each of rows) {
      const at = each.at instanceof Date ? each.at.toISOString() : null
      await db.query('INSERT INTO docs VALUES ($1, $2, $3, $4, $5, $6, $7)', [
        each.id,
        each.owner,
        each.state,
        each.size,
        each.live,
        at,
        each.tags,
      ])
    }
    const kinds = new Map<string, number>()
    await fc.assert(
      fc.asyncProperty(
        policySource,
        fc.array(request, { minLength: 3, maxLength: 3 }),
        async (source, requests) => {
          const engine = new Engine(createModel(definePolicy(source as never)))
          for (const asked of requests) {
            const access = accessOf(engine, asked)
            for (const permission of PERMISSIONS) {
              const filter = access.filter(permission)
              kinds.set(filter.kind, (kinds.get(filter.kind) ?? 0) + 1)
              const naming = { columns: { owner: 'owner_id' }, firstParameter: 2 }
              const { text, values } = filter.sql(naming)
              const select = `SELECT id FROM docs WHERE id >= $1 AND ${text} ORDER BY id`
              const found =
                filter.kind === 'where'
                  ? (await db.query<{ id: number }>(select, [0, ...values])).rows
                  : { TRUE: rows, FALSE: [] }[text]!
              const checked = rows.filter((each) => access.can(permission, each)).map(idOf)
              const matched = rows.filter((each) => filter.matches(each)).map(idOf)
              const selected = found.map(idOf)
              if (String(checked) !== String(matched) || String(checked) !== String(selected)) {
                const ids = JSON.stringify({ checked, matched, selected })
                throw new Error(`${filter.text}\n${text}\n${ids}`)
              }
            }
          }
        },
      ),
      { numRuns: runs(200, 4000) },
    )
    t.ok(
      ['all', 'none', 'where'].every((kind) => (kinds.get(kind) ?? 0) > 50),
      `kinds: ${JSON.stringify([...kinds])}`,
    )
  },
)

/** What a table can hold: a value of the column's type, or NULL. */
function asRow(source: Attributes) {
  return {
    owner: text(source['owner']),
    state: text(source['state']),
    size: typeof source['size'] === 'number' ? source['size'] : null,
    live: typeof source['live'] === 'boolean' ? source['live'] : null,
    at: source['at'] instanceof Date ? source['at'] : null,
    tags: Array.isArray(source['tags'])
      ? source['tags'].map((each) => (typeof each === 'string' ? each : null))
      : null,
  }
}
