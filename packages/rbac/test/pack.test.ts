/** The rights of a principal for a page: never a yes where the server says no. */
import { createManualClock } from '@parapet/kit'
import {
  and,
  createMemoryRelations,
  definePolicy,
  eq,
  exists,
  gt,
  has,
  isUnder,
  not,
  or,
  rbac,
  related,
  startsWith,
  type Pack,
} from '@parapet/rbac'
import { can } from '@parapet/rbac/client'
import { runs } from '@parapet/testing'
import Fastify from 'fastify'
import fc from 'fast-check'
import { gzipSync } from 'node:zlib'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'
import t, { type Test } from 'tap'
import { constantPolicy, NOW, PERMISSIONS, policySource, request, row } from './arbitraries.ts'
import { Access } from '../src/decide/access.ts'
import { Engine } from '../src/decide/engine.ts'
import { foldRule } from '../src/decide/filter.ts'
import { isAllowed, isConditional } from '../src/decide/rights.ts'
import { packRule } from '../src/pack/pack.ts'
import { compilePolicy } from '../src/policy/compile-policy.ts'

const policy = definePolicy({
  permissions: ['doc:read', 'doc:write', 'doc:share', 'doc:delete', 'doc:audit'],
  resources: {
    doc: {
      id: 'string',
      ownerId: 'uuid',
      state: 'enum',
      tags: 'string[]',
      at: 'time',
      'org.plan': 'string',
    },
  },
  relations: { doc: { viewer: { direct: ['user'] } } },
  facts: { onCall: 'boolean' },
  roles: {
    editor: {
      grants: ['doc:read'],
      when: {
        'doc:write': ({ resource, subject }) =>
          and(eq(resource.ownerId, subject.id), not(eq(resource.state, 'locked'))),
        'doc:share': ({ resource }) =>
          or(related('doc#viewer', resource.id), has(resource.tags, 'open')),
        'doc:delete': ({ resource, environment }) =>
          and(gt(resource.at, environment.time), exists(resource['org.plan'])),
        'doc:audit': ({ fact }) => eq(fact.onCall, true),
      },
    },
  },
  deny: [
    {
      id: 'free',
      permissions: ['doc:share'],
      when: ({ resource }) => eq(resource['org.plan'], 'free'),
    },
  ],
})

const ID = '0b7f4d3e-6c1a-4a51-9a55-3f2d8e7c9b10'
const ann = { id: ID, roles: ['editor'] }

async function packOf(t: Test) {
  const clock = createManualClock(NOW)
  const app = Fastify()
  t.after(() => app.close())
  const relations = createMemoryRelations()
  await app.register(rbac, { policy, relations, clock, facts: { onCall: () => true } })
  const viewer = { object: { type: 'doc', id: '7' }, relation: 'viewer' }
  await app.rbac.relate({ add: [{ ...viewer, subject: { type: 'user', id: ID } }] })
  // As it arrives in a browser.
  const pack = JSON.parse(JSON.stringify(await app.rbac.pack(ann))) as Pack
  return { app, pack }
}

await t.test('a page learns what the principal may do, also with a resource', async (t) => {
  const { app, pack } = await packOf(t)
  const yes = (permission: string, resource?: object) => can(pack, permission, resource, NOW)
  t.equal(yes('doc:read'), true)
  t.equal(yes('doc:write'), false)
  t.equal(yes('doc:write', { ownerId: ID.toUpperCase(), state: 'open' }), true)
  t.equal(yes('doc:write', { ownerId: ID, state: 'locked' }), false)
  t.equal(yes('doc:write', { ownerId: 'someone', state: 'open' }), false)
  t.equal(yes('doc:share', { id: '7', org: { plan: 'pro' } }), true, 'a relation')
  t.equal(yes('doc:share', { id: '8', tags: ['open'], org: { plan: 'pro' } }), true)
  t.equal(yes('doc:share', { id: '7', org: { plan: 'free' } }), false, 'a deny rule')
  t.equal(yes('doc:share', { id: '7' }), false, 'a deny rule that is unknown')
  t.equal(yes('doc:delete', { at: '2099-01-01T00:00:00Z', org: { plan: 'x' } }), false, 'a time')
  t.equal(yes('doc:audit'), false, 'a fact')
  for (const name of ['doc:fly', 'constructor', '__proto__']) t.equal(yes(name), false)
  t.equal(pack.exp, NOW + 60_000)
  t.equal(can(pack, 'doc:read', undefined, NOW + 59_999), true)
  t.equal(can(pack, 'doc:read', undefined, NOW + 60_000), false, 'it has ended')
  t.equal(can({ ...pack, v: 2 as never }, 'doc:read', undefined, NOW), false)
  await t.rejects(app.rbac.pack(null as never), {
    code: 'PARAPET_RBAC_INVALID_ARGUMENT',
    statusCode: 500,
  })
  const nobody = await app.rbac.pack({ id: 'x', roles: [] }, { maxAgeMs: 1 })
  t.same(nobody, { v: 1, exp: NOW + 1000, yes: [], if: {} })
})

await t.test('a page never says yes where the server says no', async (t) => {
  let same = 0
  let less = 0
  await fc.assert(
    fc.asyncProperty(
      policySource,
      request,
      fc.array(fc.oneof(row, fc.constant(undefined)), { minLength: 12, maxLength: 12 }),
      async (source, asked, rows) => {
        const engine = new Engine(compilePolicy(definePolicy(source as never)))
        const { principal, subject, load, friend } = asked
        const access = new Access(
          constantPolicy(engine),
          {
            facts: { friend: () => friend },
            factTimeoutMs: 1000,
            clock: createManualClock(NOW),
            challenge: 'Bearer',
          },
          {
            principal,
            environment: () => ({ time: NOW, attributes: { load } }),
            subject: () => subject,
            report: () => {},
          },
        )
        const pack = packFor(engine, asked)
        for (const permission of PERMISSIONS) {
          for (const resource of rows) {
            const onPage = can(pack, permission, resource, NOW)
            const node = { op: 'permission', permission } as const
            const { allowed } = await access.decide(node, [permission], resource)
            if (onPage && !allowed) {
              throw new Error(`${permission} ${JSON.stringify({ resource, pack })}`)
            }
            if (onPage === allowed) same++
            else less++
          }
        }
      },
    ),
    { numRuns: runs(600, 10_000) },
  )
  t.ok(same > less * 4, `${same} answers agree, ${less} pages say no where the server says yes`)
})

function packFor(
  engine: Engine,
  { principal, subject, load }: typeof request extends fc.Arbitrary<infer T> ? T : never,
) {
  const rights = engine.rightsOf(principal)
  const context = {
    principal,
    subject,
    resource: undefined,
    environment: { time: NOW, attributes: { load } },
    facts: undefined,
  }
  const yes: string[] = []
  const rules: Record<string, Pack['if'][string]> = {}
  for (const [permission, id] of engine.permissionIds) {
    if (isAllowed(rights, id)) yes.push(permission)
    else if (isConditional(rights, id)) {
      const rule = packRule(foldRule(engine, rights, id, context))
      if (rule === true) yes.push(permission)
      else if (rule !== false) rules[permission] = rule
    }
  }
  return JSON.parse(JSON.stringify({ v: 1, exp: NOW + 1, yes, if: rules })) as Pack
}

await t.test('the evaluator needs at most 2 KB, and imports nothing', async (t) => {
  const input = fileURLToPath(new URL('../src/pack/client.ts', import.meta.url))
  const bundle = await rolldown({ input, external: () => false })
  t.after(() => bundle.close())
  const { output } = await bundle.generate({ format: 'esm', minify: true })
  const [{ code, imports }] = output
  t.same(imports, [])
  const bytes = Buffer.byteLength(code)
  t.ok(bytes <= 2048, `${bytes} bytes, ${gzipSync(code).length} compressed`)
})

await t.test(
  'a prefix that ends inside a surrogate pair is no prefix, as on the server',
  async (t) => {
    const paths = definePolicy({
      permissions: ['doc:read', 'doc:write'],
      resources: { doc: { path: 'string', base: 'string' } },
      roles: {
        user: {
          when: {
            'doc:read': ({ resource }) => isUnder(resource.path, resource.base),
            'doc:write': ({ resource }) => startsWith(resource.path, resource.base),
          },
        },
      },
    })
    const app = Fastify()
    t.after(() => app.close())
    const principal = { id: 'ann', roles: ['user'] }
    await app.register(rbac, {
      policy: paths,
      clock: createManualClock(NOW),
      principal: () => principal,
    })
    const pack = await app.rbac.pack(principal)
    for (const [base, expected] of [
      ['/a', true],
      ['/a/\ud83d', false],
      ['/a/\ud83d\ude00', true],
    ] as const) {
      const doc = { path: '/a/\ud83d\ude00', base }
      const rbacOf = app.rbac.explain(principal, 'doc:write', doc)
      t.equal(rbacOf.allowed, expected)
      t.equal(can(pack, 'doc:write', doc, NOW), expected)
      t.equal(can(pack, 'doc:read', doc, NOW), expected)
    }
  },
)
