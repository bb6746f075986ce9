/** `Principal.scopes`: a ceiling for every decision, never a grant. */
import type { Principal, SecurityEvent } from '@parapet/kit'
import { definePolicy, eq, rbac } from '@parapet/rbac'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { allows, recordHandlers, refuses } from './refusals.ts'

const policy = definePolicy({
  permissions: ['content:read', 'content:write', 'users:list'],
  resources: { content: { ownerId: 'string', secret: 'string' } },
  roles: {
    viewer: { grants: ['content:read'] },
    author: {
      inherits: ['viewer'],
      when: { 'content:write': ({ resource, subject }) => eq(resource.ownerId, subject.id) },
    },
    admin: { grants: ['*'] },
  },
  fields: { content: { secret: 'content:write' } },
})
const mine = { ownerId: 'ann', secret: 's' }

async function build(t: Test, caller: Principal) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, {
    policy,
    principal: () => caller,
    authzen: {
      subject: () => caller,
      rule: { public: 'a test' },
      baseUrl: 'https://pdp.example.com',
    },
  })
  const handled = recordHandlers(app)
  const events: SecurityEvent[] = []
  app.securityEvents.on('rbac.denied', (event) => void events.push(event))
  app.get('/read', { config: { rbac: 'content:read' } }, async () => 'read')
  const rule = { permission: 'content:write', resource: () => mine } as const
  app.put('/write', { config: { rbac: rule } }, async () => 'written')
  app.get('/users', { config: { rbac: 'users:list' } }, async () => 'users')
  app.get('/me', { config: { rbac: { authenticated: 'own profile' } } }, async () => 'me')
  app.get('/ask', { config: { rbac: { public: 'asks' } } }, async ({ rbac: access }) => ({
    read: access.can('content:read'),
    write: access.can('content:write', mine),
    kinds: [access.filter('content:read').kind, access.filter('content:write').kind],
    masked: access.mask('content:read', mine),
  }))
  return { app, handled, events }
}

await t.test('scopes limit roles, permissions and conditions, and grant nothing', async (t) => {
  const key = { id: 'ann', roles: ['author'], permissions: ['users:list'] }
  const built = await build(t, { ...key, scopes: ['content:write', 'users:delete'] })
  await allows(t, built, { method: 'PUT', url: '/write' }, 'a role and a scope')
  await refuses(t, built, 403, { url: '/read' })
  await refuses(t, built, 403, { url: '/users' }, 'also a permission of the principal')
  t.same(
    built.events.map(({ details }) => (details as { reason: string }).reason),
    ['out_of_scope', 'out_of_scope'],
  )
  const viewer = await build(t, { id: 'ann', roles: ['viewer'], scopes: ['content:*'] })
  await refuses(t, viewer, 403, { method: 'PUT', url: '/write' }, 'a scope grants nothing')
  const other = await build(t, { id: 'bob', roles: ['author'], scopes: ['content:*'] })
  await refuses(t, other, 403, { method: 'PUT', url: '/write' }, 'the condition still decides')
  const empty = await build(t, { id: 'root', roles: ['admin'], scopes: [] })
  await refuses(t, empty, 403, { url: '/read' }, 'no scopes allow nothing')
})

await t.test('a rule without a permission needs the scope *', async (t) => {
  const limited = await build(t, { id: 'root', roles: ['admin'], scopes: ['content:*', 'users:*'] })
  await refuses(t, limited, 403, { url: '/me' }, 'otherwise a key could create an unlimited key')
  await allows(t, limited, { url: '/users' })
  const full = await build(t, { id: 'root', roles: ['admin'], scopes: ['*'] })
  await allows(t, full, { url: '/me' })
  await allows(t, full, { url: '/read' })
})

await t.test('can, filter, mask, explain, the matrix and AuthZEN use scopes', async (t) => {
  const caller = { id: 'ann', roles: ['author'], scopes: ['content:read'] }
  const { app } = await build(t, caller)
  t.same((await app.inject('/ask')).json(), {
    read: true,
    write: false,
    kinds: ['all', 'none'],
    masked: { ownerId: 'ann' },
  })
  const explained = app.rbac.explain(caller, 'content:write', mine)
  t.match(explained, {
    allowed: false,
    reason: 'out_of_scope',
    text: /the scopes of the credential do not include "content:write"/,
  })
  t.equal(app.rbac.explain(caller, 'content:read').allowed, true)
  const { rows } = app.rbac.matrix({ scopes: ['content:read'] })
  const rights = Object.fromEntries(rows.map(({ url, roles }) => [url, roles['author']]))
  t.match(rights, { '/read': 'allow', '/write': 'deny', '/me': 'deny', '/ask': 'allow' })
  for (const [id, decision] of [
    ['/read', true],
    ['/me', false],
    ['/ask', true],
  ] as const) {
    const body = {
      subject: { type: 'user', id: 'ann' },
      action: { name: 'GET' },
      resource: { type: 'route', id },
    }
    const reply = await app.inject({ method: 'POST', url: '/access/v1/evaluation', body })
    t.same(reply.json(), { decision }, id)
  }
})
