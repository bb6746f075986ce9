/** Content-Security-Policy by tenant. */
import { EventEmitter, once } from 'node:events'
import { createManualClock, type SecurityEvent } from '@parapet/kit'
import type { CspDirectives, TenantsOptions } from '@parapet/security-headers'
import type { FastifyRequest } from 'fastify'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { serializeCsp } from '../src/csp/serialize.ts'
import { cspOnly } from '../src/headers/helmet-settings.ts'
import { createHelmetRecorder } from '../src/http/recorders.ts'
import { presets } from '../src/presets/presets.ts'
import { build, checkBlock } from './helpers.ts'

const POLICIES: Readonly<Record<string, CspDirectives>> = {
  a: { 'connect-src': ["'self'", 'https://api.a.example'] },
  b: { 'frame-ancestors': ['https://b.example'] },
  c: { 'frame-ancestors': ["'self'"] },
  unsafe: { 'script-src': ["'unsafe-inline'"] },
  invalid: { 'connect-src': ['a; script-src *'] },
}

async function buildTenants(t: Test, settings: Partial<TenantsOptions<FastifyRequest>> = {}) {
  const clock = createManualClock()
  const asked: string[] = []
  const app = await build(t, {
    preset: 'web',
    clock,
    tenants: {
      of: ({ host }) => host.split('.', 1)[0]!,
      csp: async (tenant) => {
        asked.push(tenant)
        if (tenant === 'broken') throw new Error('no database')
        return POLICIES[tenant] ?? null
      },
      ...settings,
    },
  })
  const events: SecurityEvent[] = []
  app.securityEvents.on('security_headers.tenant_refused', (event) => void events.push(event))
  app.get('/', async () => 'x')
  app.get('/nonce', async (_request, reply) => reply.cspNonce.script)
  app.get('/docs', { config: { securityHeaders: { preset: 'docs' } } }, async () => 'docs')
  const ask = async (tenant: string, url = '/') =>
    app.inject({ url, headers: { host: `${tenant}.example` } })
  return { app, ask, asked, events, clock }
}

await t.test('a tenant has its own sources, in every policy and with a nonce', async (t) => {
  const { app, ask } = await buildTenants(t)
  const a = await ask('a')
  checkBlock(t, app, a.headers, 'the rest', ['content-security-policy'])
  t.match(a.headers['content-security-policy'], /connect-src 'self' https:\/\/api\.a\.example;/)
  t.match(a.headers['x-frame-options'], 'DENY')
  const nonce = await ask('a', '/nonce')
  const csp = String(nonce.headers['content-security-policy'])
  t.ok(csp.includes(`script-src 'nonce-${nonce.body}'`) && csp.includes('https://api.a.example'))
  const docs = String((await ask('a', '/docs')).headers['content-security-policy'])
  t.ok(docs.includes("'unsafe-inline'") && docs.includes('https://api.a.example'))
  const b = (await ask('b')).headers
  t.match(b['content-security-policy'], /frame-ancestors https:\/\/b\.example/)
  t.notOk('x-frame-options' in b, 'it cannot list origins')
  t.equal((await ask('c')).headers['x-frame-options'], 'SAMEORIGIN')
  checkBlock(t, app, (await ask('unknown')).headers, 'a tenant without a policy')
  checkBlock(t, app, (await app.inject('/nowhere')).headers, 'no route')
})

await t.test('a policy is compiled once, kept for its time, and bounded', async (t) => {
  const { ask, asked, clock } = await buildTenants(t, { maxTenants: 2, maxAgeMs: 1000 })
  await Promise.all(Array.from({ length: 20 }, () => ask('a')))
  t.same(asked, ['a'], 'simultaneous requests share one call')
  for (const tenant of ['b', 'a', 'c', 'a']) await ask(tenant)
  t.same(asked, ['a', 'b', 'c'], 'the tenant that was not used longest is removed')
  await ask('b')
  t.same(asked, ['a', 'b', 'c', 'b'])
  clock.advance(1001)
  await ask('b')
  t.equal(asked.length, 5, 'the policy is read again')
})

await t.test('a tenant whose policy cannot be used gets that of the route', async (t) => {
  const { app, ask, events, asked, clock } = await buildTenants(t)
  for (const tenant of ['broken', 'unsafe', 'invalid', 'broken']) {
    const { statusCode, headers } = await ask(tenant)
    t.equal(statusCode, 200)
    checkBlock(t, app, headers, tenant)
  }
  t.same(
    events.map(({ details }) => details),
    [
      { tenant: 'broken', reason: 'failed' },
      { tenant: 'unsafe', reason: 'unsafe' },
      { tenant: 'invalid', reason: 'unsafe' },
    ],
  )
  clock.advance(10_001)
  await ask('broken')
  t.equal(asked.length, 4, 'it is tried again soon')
})

await t.test('a policy that takes too long does not hold requests', async (t) => {
  const clock = createManualClock()
  const asked = new EventEmitter()
  const app = await build(t, {
    clock,
    tenants: {
      of: () => 'slow',
      deadlineMs: 50,
      csp: () => (asked.emit('asked'), new Promise(() => {})),
    },
  })
  const reasons: unknown[] = []
  app.securityEvents.on('security_headers.tenant_refused', ({ details }) => {
    reasons.push(details.reason)
  })
  app.get('/', async () => 'x')
  const isAsked = once(asked, 'asked')
  const reply = app.inject('/')
  await isAsked
  clock.advance(51)
  checkBlock(t, app, (await reply).headers, 'the block of the route')
  t.same(reasons, ['late'])
})

await t.test('a mapping that throws or returns no name means no tenant', async (t) => {
  const results: (() => string | null)[] = [
    () => null,
    () => 'x'.repeat(256),
    () => {
      throw new Error('no host')
    },
  ]
  for (const of of results) {
    const app = await build(t, { tenants: { of, csp: () => t.fail('asked') as never } })
    app.get('/', async () => 'x')
    const { statusCode, headers } = await app.inject('/')
    t.equal(statusCode, 200)
    checkBlock(t, app, headers, 'the block of the route')
  }
})

await t.test('a policy has the bytes that helmet would write', async (t) => {
  const record = createHelmetRecorder()
  const source = fc.constantFrom(
    "'self'",
    'https://a.example',
    'data:',
    "'nonce-abc'",
    '*.b.example',
  )
  const directives = fc.dictionary(
    fc.constantFrom('connect-src', 'img-src', 'frame-ancestors', 'sandbox'),
    fc.uniqueArray(source, { maxLength: 4 }),
  )
  await fc.assert(
    fc.asyncProperty(directives, async (own) => {
      const csp: CspDirectives = { ...presets.web.policy.csp, ...own }
      const { 'content-security-policy': expected } = await record(cspOnly(csp, false))
      t.equal(serializeCsp(csp), expected)
    }),
    { numRuns: 30 },
  )
})
