/** An app with a policy for content, and with routes that cover every kind of rule. */
import type { Principal, SecurityEvent } from '@parapet/kit'
import { definePolicy, eq, rbac, type RbacOptions } from '@parapet/rbac'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { recordHandlers } from './refusals.ts'

export const policy = definePolicy({
  permissions: [
    'content:read',
    'content:write',
    'content:delete',
    'content:read_drafts',
    'settings:manage',
  ],
  resources: {
    content: {
      id: 'string',
      tenantId: 'string',
      ownerId: 'string',
      live: 'boolean',
      legalHold: 'boolean',
    },
  },
  roles: {
    viewer: { when: { 'content:read': ({ resource }) => eq(resource.live, true) } },
    author: {
      inherits: ['viewer'],
      grants: ['content:read_drafts'],
      when: { 'content:write': ({ subject, resource }) => eq(resource.ownerId, subject.id) },
    },
    editor: { inherits: ['author'], grants: ['content:*'] },
    admin: { grants: ['*'] },
    requester: {},
    approver: {},
  },
  deny: [
    {
      id: 'legal-hold',
      permissions: ['content:delete'],
      when: ({ resource }) => eq(resource.legalHold, true),
    },
  ],
  sod: [{ id: 'payment', roles: ['requester', 'approver'] }],
  fields: { content: { ownerId: 'content:read_drafts' } },
})

export const records: Readonly<Record<string, object>> = {
  live: { id: 'live', ownerId: 'ann', live: true, legalHold: false },
  draft: { id: 'draft', ownerId: 'ann', live: false, legalHold: false },
  held: { id: 'held', ownerId: 'ann', live: true, legalHold: true },
}

/** Reads the principal from headers, as a login would read it from a token. */
export const principal = (request: { headers: Record<string, unknown> }): Principal | null => {
  const { 'x-user': id, 'x-roles': roles } = request.headers as Record<string, string | undefined>
  return id === undefined
    ? null
    : { id, roles: roles === undefined || roles === '' ? [] : roles.split(',') }
}

/** Returns the headers of a principal. */
export const as = (id: string, ...roles: string[]) => ({ 'x-user': id, 'x-roles': roles.join(',') })

/** Loads the record that the route parameter names. */
export const resource = ({ params }: { params: unknown }): object | null =>
  records[(params as { id: string }).id] ?? null

const handler = async () => 'done'

/** Builds the app. */
export async function build(
  t: Test,
  options: Partial<RbacOptions> = {},
): Promise<{ app: FastifyInstance; events: SecurityEvent[]; handled: string[] }> {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy, principal, ...options })
  const handled = recordHandlers(app)
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  app.get('/health', { config: { rbac: { public: 'liveness probe' } } }, handler)
  app.get('/me', { config: { rbac: { authenticated: 'own profile' } } }, handler)
  app.get('/settings', { config: { rbac: 'settings:manage' } }, handler)
  app.get(
    '/content/:id',
    { config: { rbac: { permission: 'content:read', resource, hideAs: 404 } } },
    handler,
  )
  app.put('/content/:id', { config: { rbac: { permission: 'content:write', resource } } }, handler)
  app.delete(
    '/content/:id',
    { config: { rbac: { permission: 'content:delete', resource } } },
    handler,
  )
  app.get(
    '/either',
    {
      config: {
        rbac: { any: ['settings:manage', { all: ['content:read_drafts', 'content:write'] }] },
      },
    },
    handler,
  )
  return { app, events, handled }
}
