/** Data that cannot be read is unknown: a grant fails, a deny rule applies, also under `not`. */
import {
  before,
  cidr,
  definePolicy,
  during,
  eq,
  gt,
  has,
  isIn,
  lt,
  ne,
  not,
  rbac,
  type Condition,
} from '@parapet/rbac'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import { isIP } from 'node:net'
import t, { type Test } from 'tap'
import { allows, recordHandlers, refuses } from './refusals.ts'

const attributes = {
  number: 'number',
  boolean: 'boolean',
  moment: 'time',
  list: 'string[]',
  uuid: 'uuid',
  bigint: 'bigint',
  decimal: 'decimal',
  day: 'date',
} as const

const id = '0b9f4e0e-6f0e-4e0e-8f0e-0b9f4e0e6f0e'
const ref = (name: string): never => ({ ref: `environment.${name}` }) as never
const pathOf = (permission: string) => `/${permission.replace(':', '/')}`
const morning = { from: '08:00', until: '12:00' }
const notTimes = [
  '2026-02-30T00:00:00Z',
  '2026-02-29T10:00:00+02:00',
  '2026-01-01T24:00:00Z',
  '2026-13-01T00:00:00Z',
  'yesterday',
  new Date(NaN),
  NaN,
  9e15,
]
const notAddresses = ['unknown', '_hidden', '"203.0.113.9"', '203.0.113.09', '0xcb.0.113.9']

/** A condition, the attribute that it reads, and values of that type which say nothing. */
const cases: readonly (readonly [Condition, string, readonly unknown[]])[] = [
  [cidr(ref('ip'), ['203.0.113.0/24']), 'ip', notAddresses],
  [eq(ref('ip'), '203.0.113.9'), 'ip', notAddresses],
  [ne(ref('ip'), '203.0.113.9'), 'ip', notAddresses],
  [isIn(ref('ip'), ['203.0.113.9']), 'ip', notAddresses],
  [during(ref('moment'), morning), 'moment', [...notTimes, Infinity, -Infinity]],
  [before(ref('moment'), new Date(0)), 'moment', notTimes],
  [eq(ref('moment'), new Date(0)), 'moment', notTimes],
  [gt(ref('number'), 1), 'number', [NaN]],
  [ne(ref('number'), 1), 'number', [NaN]],
  [isIn(ref('number'), [1]), 'number', [NaN]],
  [has(ref('list'), 'a'), 'list', [['b', 1], [null]]],
  [eq(ref('uuid'), id), 'uuid', ['', 'ann', `${id}0`]],
  [lt(ref('bigint'), 7n), 'bigint', ['', '1e3', '9999999999999999999', 1.5, NaN]],
  [lt(ref('decimal'), 7), 'decimal', ['', '1e3', 'NaN', Infinity, NaN]],
  [lt(ref('day'), new Date(0)), 'day', ['', '2026-02-30', '2026-1-1', new Date(NaN)]],
]

/** An app where `granted` and `inverted` grant by a condition, and `denied` is refused by it. */
async function appOf(t: Test, condition: Condition) {
  const policy = definePolicy({
    permissions: ['doc:granted', 'doc:inverted', 'doc:denied', 'doc:spared'],
    environment: attributes,
    roles: {
      user: {
        grants: ['doc:denied', 'doc:spared'],
        when: { 'doc:granted': condition, 'doc:inverted': not(condition) },
      },
    },
    deny: [
      { id: 'block', permissions: ['doc:denied'], when: condition },
      { id: 'invert', permissions: ['doc:spared'], when: not(condition) },
    ],
  })
  const app = Fastify({ trustProxy: true })
  t.after(() => app.close())
  let value: Record<string, unknown> = {}
  await app.register(rbac, {
    policy,
    principal: () => ({ id: 'bob', roles: ['user'] }),
    environment: () => value,
  })
  const handled = recordHandlers(app)
  for (const permission of policy.permissions) {
    app.get(pathOf(permission), { config: { rbac: permission } }, async () => 'done')
  }
  return {
    app,
    handled,
    permissions: policy.permissions,
    set: (next: Record<string, unknown>) => (value = next),
  }
}

await t.test('for every operator, a value that cannot be read is unknown', async (t) => {
  for (const [condition, name, values] of cases) {
    const { app, handled, permissions, set } = await appOf(t, condition)
    for (const value of values) {
      set({ [name]: value })
      const headers = { 'x-forwarded-for': name === 'ip' ? String(value) : '192.0.2.1' }
      for (const permission of permissions) {
        const message = `${condition.op} of ${name} ${String(value)}: ${permission}`
        await refuses(t, { app, handled }, 403, { url: pathOf(permission), headers }, message)
      }
    }
  }
})

const statusFor = async (app: FastifyInstance, url: string, ip: string) =>
  (await app.inject({ url, headers: { 'x-forwarded-for': ip } })).statusCode

await t.test('a deny rule finds an address in every form in which proxies write it', async (t) => {
  const { app, handled } = await appOf(t, cidr(ref('ip'), ['203.0.113.0/24']))
  for (const ip of [
    '203.0.113.9',
    '203.0.113.9:51234',
    '::ffff:203.0.113.9',
    '[::ffff:203.0.113.9]:80',
    '[::FFFF:cb00:7109]',
    '64:ff9b::203.0.113.9',
    '[64:ff9b::cb00:7109]:443',
  ]) {
    const headers = { 'x-forwarded-for': ip }
    await refuses(t, { app, handled }, 403, { url: '/doc/denied', headers }, ip)
    await allows(t, { app }, { url: '/doc/granted', headers }, ip)
  }
  for (const ip of [
    '198.51.100.1:443',
    '[2001:db8::1]:443',
    '2001:db8::1%eth0',
    '64:ff9b::1.1.1.1',
  ]) {
    await allows(t, { app }, { url: '/doc/denied', headers: { 'x-forwarded-for': ip } }, ip)
  }
})

await t.test('text that is no address is never inside or outside of a block', async (t) => {
  const { app } = await appOf(t, cidr(ref('ip'), ['10.0.0.0/8', '2001:db8::/32']))
  const policy = (ip: string, permission: string) =>
    app.rbac.explain({ id: 'bob', roles: ['user'] }, permission, undefined, { environment: { ip } })
      .allowed
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.ipV4Extended()), (ip) => {
      fc.pre(isIP(ip.replace(/%.*$/, '').replace(/^\[|\](:\d+)?$|:\d{1,5}$/g, '')) === 0)
      fc.pre(isIP(ip.replace(/%.*$/, '')) === 0)
      return (
        !policy(ip, 'doc:granted') &&
        !policy(ip, 'doc:inverted') &&
        !policy(ip, 'doc:denied') &&
        !policy(ip, 'doc:spared')
      )
    }),
    { numRuns: 300 },
  )
  t.pass('all of them are unknown')
})

await t.test('environment.ip is compared in its canonical form', async (t) => {
  const v4 = await appOf(t, eq(ref('ip'), '203.0.113.9'))
  for (const ip of [
    '203.0.113.9',
    '203.0.113.9:8080',
    '::ffff:203.0.113.9',
    '64:ff9b::cb00:7109',
  ]) {
    t.equal(await statusFor(v4.app, '/doc/granted', ip), 200, ip)
  }
  const v6 = await appOf(t, eq(ref('ip'), '2001:db8::1'))
  t.equal(await statusFor(v6.app, '/doc/granted', '2001:DB8:0:0::1'), 200)
  for (const constant of ['2001:DB8::1', '::ffff:203.0.113.9', 'localhost', '10.0.0.1:80']) {
    for (const condition of [eq(ref('ip'), constant), isIn(ref('ip'), [constant])]) {
      t.throws(
        () => definePolicy({ permissions: ['a'], roles: { r: { when: { a: condition } } } }),
        { code: 'PARAPET_RBAC_INVALID_POLICY', statusCode: 500, message: /canonical form/ },
        constant,
      )
    }
  }
})
