/** Defining a policy: what is refused, how it is stored, and how time windows work. */
import {
  and,
  before,
  cidr,
  decodePolicy,
  definePolicy,
  during,
  encodePolicy,
  eq,
  fromMap,
  lt,
  not,
  type Condition,
  type TimeWindow,
} from '@parapet/rbac'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createTimeWindow } from '../src/conditions/time-window.ts'
import { NOW, policySource } from './arbitraries.ts'

const base = {
  permissions: ['doc:read', 'doc:write'],
  resources: { doc: { ownerId: 'string', size: 'number', at: 'time' } },
  roles: { reader: { grants: ['doc:read'] } },
} as const

/** Checks that each change of a valid policy is refused with a message. */
function refusesEach(t: Test, refused: readonly (readonly [object, RegExp])[]): void {
  for (const [change, message] of refused) {
    t.throws(
      () => definePolicy({ ...base, ...change }),
      { code: 'PARAPET_RBAC_INVALID_POLICY', statusCode: 500, message },
      String(message),
    )
  }
}

const deep = (levels: number): Condition =>
  levels === 0 ? eq({ ref: 'subject.id' }, 'x') : not(deep(levels - 1))

await t.test('names, roles, deny rules and duties that are invalid are refused', (t) => {
  refusesEach(t, [
    [
      { roles: { r: { grants: ['doc:raed'] } } },
      /roles\.r\.grants: uses the permission "doc:raed"/,
    ],
    [{ roles: { r: { grants: ['nope:*'] } } }, /uses the permission "nope:\*"/],
    [{ roles: { r: { inherits: ['ghost'] } } }, /roles\.r\.inherits: uses the role "ghost"/],
    [
      {
        roles: {
          a: { inherits: ['c'] },
          b: { inherits: ['a'] },
          c: { inherits: ['b'] },
          d: { inherits: ['a'] },
        },
      },
      /must not inherit in a cycle, got a → c → b → a/,
    ],
    [{ roles: { a: { inherits: ['a'] } } }, /cycle, got a → a/],
    [{ deny: [{ id: 'd', permissions: ['doc:gone'] }] }, /deny\.d: uses the permission "doc:gone"/],
    [{ deny: [{ id: 'd', permissions: [] }] }, /deny\.d: must list at least one permission/],
    [
      { deny: [{ id: 'd', permissions: ['*'], roles: [] }] },
      /deny\.d: must list at least one role/,
    ],
    [{ deny: 'all' }, /deny: must be an array of at most 10000 entries, got "all"/],
    [
      {
        deny: [
          { id: 'd', permissions: ['*'] },
          { id: 'd', permissions: ['*'] },
        ],
      },
      /deny\.d: is used twice/,
    ],
    [
      { sod: [{ id: 's', roles: ['reader'] }] },
      /sod\[0\]\.max: must be an integer from 1 to 0 .*, got 1/,
    ],
    [{ sod: [{ id: 's', roles: ['reader', 'ghost'] }] }, /sod\.s: uses the role "ghost"/],
    [
      { roles: { a: {}, b: { inherits: ['a'] } }, sod: [{ id: 's', roles: ['a', 'b'] }] },
      /roles\.b: has, with inherited roles, more roles of sod\.s than "max" allows/,
    ],
    [
      { fields: { doc: { x: 'doc:gone' } } },
      /fields\.doc\.x: must be a declared permission of "doc", got "doc:gone"/,
    ],
    [{ permissions: ['doc:read', 'doc:read'] }, /permissions: lists "doc:read" twice/],
    [{ permissions: ['doc:*'] }, /got "doc:\*"/],
    [{ permissions: ['doc read'] }, /got "doc read"/],
    [{ roles: { ' r': {} } }, /got " r"/],
    [
      { roles: { r: { grant: ['doc:read'] } } },
      /roles\.r\.grant: is an unknown key; known keys: inherits, grants, when/,
    ],
    [{ rolls: {} }, /policy\.rolls: is an unknown key/],
    [{ resources: { doc: { ownerId: 'uid' } } }, /must be one of string, boolean, number, time/],
    [{ roles: [] }, /roles: must be an object, got an array/],
  ])
  t.end()
})

await t.test('conditions with unknown attributes or wrong types are refused', (t) => {
  refusesEach(t, [
    [
      { roles: { r: { when: { 'doc:read': eq({ ref: 'resource.owner' }, 'x') } } } },
      /"resource\.owner", which the policy does not declare/,
    ],
    [
      { roles: { r: { when: { 'doc:read': eq({ ref: 'request.id' }, 'x') } } } },
      /"request\.id", which the policy does not declare/,
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
  ])
  t.end()
})

await t.test('malformed conditions and invalid tests are refused', (t) => {
  refusesEach(t, [
    [
      { roles: { r: { when: { 'doc:read': { op: 'regex', left: 'x' } } } } },
      /unknown operator "regex"/,
    ],
    [
      { roles: { r: { when: { 'doc:read': cidr({ ref: 'resource.ownerId' }, ['10.0.0.0/8']) } } } },
      /cidr cannot test an attribute of the resource, got resource\.ownerId/,
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
      /from: must be 1 to 128 characters that match .*, got "8:00"/,
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
      /\.left: must be \{ ref \} or \{ value \} with a string/,
    ],
    [{ roles: { r: { when: { 'doc:read': deep(40) } } } }, /is nested more than 32 levels deep/],
  ])
  t.throws(
    () =>
      definePolicy({
        ...base,
        roles: {
          r: { when: { 'doc:read': ({ resource }) => eq((resource as never)['ownr'], 'x') } },
        },
      }),
    {
      code: 'PARAPET_RBAC_INVALID_POLICY',
      statusCode: 500,
      message: /"resource\.ownr", which the policy does not declare; declared: ownerId, size, at/,
    },
    'also in a function that builds a condition',
  )
  t.end()
})

await t.test('fromMap refuses a value that is not an array, and all faults are listed', (t) => {
  t.throws(() => fromMap({ 'doc:read': 'reader' } as never), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
    statusCode: 500,
    message: /doc:read: must list its roles in an array, got a string/,
  })
  t.throws(
    () =>
      definePolicy({
        ...base,
        roles: { a: { grants: ['x:y' as never], inherits: ['b' as never] } },
      }),
    { code: 'PARAPET_RBAC_INVALID_POLICY', statusCode: 500, message: /"b"[^]*x:y/ },
    'all faults are listed',
  )
  t.end()
})

await t.test('an invalid date and an invalid time window are refused', (t) => {
  t.throws(() => before({ ref: 'environment.time' }, new Date(NaN)), {
    code: 'PARAPET_RBAC_INVALID_ARGUMENT',
    statusCode: 500,
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

await t.test('a policy is frozen data that does not depend on how it was written', (t) => {
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

await t.test('time windows use local time, across midnight and daylight saving time', (t) => {
  t.equal(open({}, '2026-01-05T08:00:00Z'), true, 'Monday')
  t.equal(open({}, '2026-01-05T18:00:00Z'), false, 'until is exclusive')
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
    null,
  )
  t.end()
})

await t.test('decoding and encoding a stored policy returns the same text', (t) => {
  fc.assert(
    fc.property(policySource, (source) => {
      const policy = definePolicy(source as never)
      const text = encodePolicy(policy)
      return encodePolicy(decodePolicy(text)) === text
    }),
    { numRuns: runs(100, 1000) },
  )
  t.pass('the property holds')
  t.end()
})
