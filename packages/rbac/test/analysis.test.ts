/** The analysis of policies: differences with examples, who could ever, candidates, grants without effect. */
import type { Principal } from '@parapet/kit'
import {
  after,
  and,
  cidr,
  containsAny,
  createMemoryRelations,
  definePolicy,
  during,
  eq,
  gt,
  lt,
  ne,
  plus,
  rbac,
  related,
  startsWith,
  type Policy,
} from '@parapet/rbac'
import { runs } from '@parapet/testing'
import Fastify from 'fastify'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { findWitnesses } from '../src/analysis/witnesses.ts'
import { Engine } from '../src/decide/engine.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'
import { policySource } from './arbitraries.ts'

const base = {
  permissions: ['doc:read', 'doc:write'],
  resources: {
    doc: { ownerId: 'string', size: 'number', tags: 'string[]', path: 'string', id: 'string' },
  },
  relations: { doc: { viewer: { direct: ['user'] } } },
} as const

type When = Parameters<typeof definePolicy>[0]

const policyWith = (when: object, more: object = {}): Policy =>
  definePolicy({ ...base, roles: { editor: { grants: ['doc:read'], when } }, ...more })

const engineOf = (policy: Policy) => new Engine(compilePolicy(policy))

const own = {
  'doc:write': ({ resource, subject }: never) =>
    eq((resource as { ownerId: never }).ownerId, (subject as { id: never }).id),
}

await t.test('every difference of two policies has an example', (t) => {
  const changes: Record<string, readonly [from: object, to: object, change: string]> = {
    'a condition goes': [own, {}, 'loses'],
    'a condition comes': [{}, own, 'gains'],
    'a limit moves up': [
      { 'doc:write': ({ resource }: Scope) => lt(resource.size, 10) },
      { 'doc:write': ({ resource }: Scope) => lt(resource.size, 11) },
      'gains',
    ],
    'a sign changes': [
      { 'doc:write': ({ resource }: Scope) => gt(resource.size, 10) },
      { 'doc:write': ({ resource }: Scope) => and(gt(resource.size, 10), ne(resource.size, 11)) },
      'loses',
    ],
    'another owner': [
      own,
      { 'doc:write': ({ resource }: Scope) => eq(resource.ownerId, 'root') },
      'gains',
    ],
    'a network': [
      { 'doc:write': ({ environment }: Scope) => cidr(environment.ip, ['10.0.0.0/8']) },
      { 'doc:write': ({ environment }: Scope) => cidr(environment.ip, ['192.168.0.0/16']) },
      'gains',
    ],
    'office hours': [
      { 'doc:write': () => eq({ ref: 'resource.ownerId' }, 'a') },
      {
        'doc:write': ({ environment }: Scope) =>
          during(environment.time, { from: '08:00', until: '18:00' }),
      },
      'gains',
    ],
    'a list': [
      { 'doc:write': ({ resource }: Scope) => containsAny(resource.tags, ['x']) },
      { 'doc:write': ({ resource }: Scope) => containsAny(resource.tags, ['x', 'y']) },
      'gains',
    ],
    'a prefix': [
      { 'doc:write': ({ resource }: Scope) => startsWith(resource.path, '/a') },
      { 'doc:write': ({ resource }: Scope) => startsWith(resource.path, '/a/') },
      'loses',
    ],
    'a relation': [
      own,
      { 'doc:write': ({ resource }: Scope) => related('doc#viewer', resource.id) },
      'gains',
    ],
  }
  for (const [title, [from, to, change]] of Object.entries(changes)) {
    const { witnesses, incomplete } = findWitnesses(
      engineOf(policyWith(from)),
      engineOf(policyWith(to)),
    )
    const found = witnesses.find((each) => each.change === change)
    t.match(found, { role: 'editor', permission: 'doc:write' }, title)
    t.same(incomplete, [], title)
  }
  t.same(findWitnesses(engineOf(policyWith(own)), engineOf(policyWith(own))), {
    witnesses: [],
    incomplete: [],
  })
  t.end()
})

interface Scope {
  readonly resource: {
    readonly ownerId: { ref: string }
    readonly size: { ref: string }
    readonly tags: { ref: string }
    readonly path: { ref: string }
    readonly id: { ref: string }
  }
  readonly environment: { readonly time: { ref: string }; readonly ip: { ref: string } }
}

await t.test('what is written differently and decides equally is no difference', (t) => {
  const [one, other] = [
    { 'doc:write': ({ resource }: Scope) => and(gt(resource.size, 1), gt(resource.size, 5)) },
    { 'doc:write': ({ resource }: Scope) => gt(resource.size, 5) },
  ]
  t.same(findWitnesses(engineOf(policyWith(one)), engineOf(policyWith(other))).witnesses, [])
  t.end()
})

await t.test('a policy never differs from itself, and added roles only gain', (t) => {
  fc.assert(
    fc.property(policySource, (source) => {
      const engine = engineOf(definePolicy(source as never))
      const { witnesses } = findWitnesses(engine, engineOf(definePolicy(source as never)))
      return witnesses.length === 0
    }),
    { numRuns: runs(10, 100) },
  )
  const more = policyWith(own, {
    roles: { editor: { grants: ['doc:read'], when: own }, chief: { grants: ['doc:*'] } },
  })
  const { witnesses } = findWitnesses(engineOf(policyWith(own)), engineOf(more))
  t.same(
    witnesses.map(({ role, permission, change }) => `${role} ${change} ${permission}`),
    ['chief gains doc:read', 'chief gains doc:write'],
  )
  t.end()
})

const resource = () => ({ id: '1', ownerId: 'bob', size: 1 })

async function build(t: Test, policy: Policy, caller: () => Principal | null = () => null) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy, relations: createMemoryRelations(), principal: caller })
  return app
}

await t.test(
  'whoCouldEver finds conditions, delegations, and no role that never could',
  async (t) => {
    const policy = definePolicy({
      permissions: ['pay:approve', 'pay:read'],
      resources: { pay: { amount: 'number', clerk: 'string' } },
      roles: {
        reader: { grants: ['pay:read'] },
        approver: { when: { 'pay:approve': ({ resource }) => lt(resource.amount, 100) } },
        chief: { grants: ['pay:*'] },
        manager: { grants: ['pay:read'] },
        owner: { inherits: ['manager'], grants: ['pay:read'] },
      },
      deny: [
        {
          id: 'late',
          permissions: ['pay:approve'],
          when: ({ environment, subject }) =>
            after(environment.time, plus(subject.authenticatedAt, 3_600_000)),
        },
      ],
      delegation: { manager: ['approver'], owner: ['reader'] },
    })
    const app = await build(t, policy)
    const holders = app.rbac.whoCouldEver('pay:approve')
    t.match(
      holders.map(({ role, when, delegation }) => ({ role, when, delegation })),
      [
        { role: 'approver', when: 'sometimes', delegation: undefined },
        { role: 'chief', when: 'sometimes', delegation: undefined },
        { role: 'manager', when: 'sometimes', delegation: ['manager', 'approver'] },
        { role: 'owner', when: 'sometimes', delegation: ['owner', 'approver'] },
      ],
    )
    t.equal(holders.length, 4)
    t.ok((holders[0]!.example!['resource.amount'] as number) < 100)
    t.equal(app.rbac.whoCouldEver('pay:read').filter(({ when }) => when === 'always').length, 4)
    t.throws(() => app.rbac.whoCouldEver('pay:fly'), {
      code: 'PARAPET_RBAC_UNKNOWN_PERMISSION',
      statusCode: 500,
    })
  },
)

const writes = (roles: object, deny: readonly object[]) =>
  definePolicy({ permissions: ['doc:read', 'doc:write'], roles, deny } as When)

await t.test('the lint finds grants that a deny rule always refuses', async (t) => {
  const app = await build(t, policyWith(own))
  const findings = (candidate: Policy) =>
    app.rbac.lint(candidate).map(({ rule, where }) => `${rule} ${where}`)
  const roles = {
    viewer: { grants: ['doc:read'] },
    editor: { inherits: ['viewer'], grants: ['doc:write'] },
  }
  const all = { id: 'frozen', permissions: ['doc:write'] }
  t.same(findings(writes(roles, [all])), ['UNREACHABLE-GRANT roles.editor.grants["doc:write"]'])
  t.same(findings(writes(roles, [{ ...all, roles: ['viewer'] }])), [
    'UNREACHABLE-GRANT roles.editor.grants["doc:write"]',
  ])
  const guest = { ...roles, guest: { grants: ['doc:read'] } }
  t.same(findings(writes(guest, [{ ...all, roles: ['guest'] }])), [])
})

await t.test('a candidate decides beside the policy in force, and changes nothing', async (t) => {
  let caller: Principal | null = { id: 'ann', roles: ['editor'] }
  const app = await build(t, policyWith(own), () => caller)
  app.get('/read', { config: { rbac: 'doc:read' } }, async () => 'ok')
  app.put('/write', { config: { rbac: { permission: 'doc:write', resource } } }, async () => 'ok')
  const call = async () => [
    (await app.inject('/read')).statusCode,
    (await app.inject({ method: 'PUT', url: '/write' })).statusCode,
  ]
  t.equal(app.rbac.shadowReport(), null)
  const candidate = definePolicy({
    ...base,
    roles: { editor: { when: { 'doc:write': ({ resource: doc }: Scope) => lt(doc.size, 5) } } },
  } as never)
  app.rbac.shadow(candidate)
  t.same(await call(), [200, 403])
  t.same(await call(), [200, 403])
  caller = { id: 'bob', roles: ['editor'] }
  t.same(await call(), [200, 200])
  caller = null
  t.same(await call(), [401, 401])
  t.match(app.rbac.shadowReport(), {
    decisions: 6,
    undecided: 0,
    others: 0,
    differences: [
      { permissions: ['doc:read'], roles: ['editor'], change: 'refuses', count: 3, example: 'ann' },
      { permissions: ['doc:write'], roles: ['editor'], change: 'allows', count: 2, example: 'ann' },
    ],
  })
  caller = { id: 'ann', roles: ['editor'] }
  app.rbac.shadow(
    policyWith({ 'doc:write': ({ resource: doc }: Scope) => related('doc#viewer', doc.id) }),
  )
  t.same(await call(), [200, 403])
  t.match(app.rbac.shadowReport(), { decisions: 2, undecided: 1, differences: [] })
  app.rbac.shadow(null)
  t.equal(app.rbac.shadowReport(), null)
  t.throws(() => app.rbac.shadow(7 as never), {
    code: 'PARAPET_RBAC_INVALID_POLICY',
    statusCode: 500,
  })
})
