/** Who may do what. A route names a permission; which roles have it, and when, is decided here. */
import { definePolicy, eq, ne, type RbacOptions } from '@parapet/rbac'

/** The policy of this service. Reading what is public needs no permission, so none is named here. */
export const policy = definePolicy({
  permissions: [
    'users:list',
    'users:read',
    'users:write',
    'users:delete',
    'users:grant',
    'users:recover',
    'content:read',
    'content:write',
    'artists:write',
    'audit:read',
  ],
  resources: { users: { id: 'string' }, content: { authorId: 'string' } },
  roles: {
    /** Whoever registers: their own account, and what everybody sees. */
    viewer: {
      when: {
        'users:read': ({ subject, resource }) => eq(resource.id, subject.id),
        'users:write': ({ subject, resource }) => eq(resource.id, subject.id),
      },
    },
    /** Writes content: what is their own, drafts included. */
    editor: {
      inherits: ['viewer'],
      when: {
        'content:read': ({ subject, resource }) => eq(resource.authorId, subject.id),
        'content:write': ({ subject, resource }) => eq(resource.authorId, subject.id),
      },
    },
    /** Keeps the artists that can be booked. */
    booker: { inherits: ['viewer'], grants: ['artists:write'] },
    /**
     * Everything, but for their own roles, and their own account only where every user ends it: with
     * a second factor.
     */
    admin: {
      grants: [
        'users:list',
        'users:read',
        'users:write',
        'users:recover',
        'content:*',
        'artists:*',
        'audit:*',
      ],
      when: {
        'users:delete': ({ subject, resource }) => ne(resource.id, subject.id),
        'users:grant': ({ subject, resource }) => ne(resource.id, subject.id),
      },
    },
  },
})

/** A role of this service. */
export type Role = keyof typeof policy.roles
/** Every role, the weakest first. */
export const roles = Object.freeze(Object.keys(policy.roles)) as readonly Role[]

/** The options of the rbac plugin in this service: the rules of routes that plugins bring along. */
export const rbacOptions: RbacOptions = {
  policy,
  routes: {
    'GET /openapi.json': { public: 'clients are written from it' },
    'POST /_reports': { public: 'browsers send reports without credentials' },
    'GET /.well-known/jwks.json': { public: 'the keys are public' },
    'POST /auth/login': { public: 'nobody has logged in before the login' },
    'POST /auth/refresh': { public: 'the refresh token is the proof' },
    'POST /auth/logout': { public: 'the token that is to end is the proof' },
    'GET /auth/sessions': { authenticated: 'own sessions only' },
    'DELETE /auth/sessions': { authenticated: 'own sessions only' },
    'DELETE /auth/sessions/:id': { authenticated: 'own sessions only' },
    'POST /mfa/passkeys/login': { public: 'nobody has logged in before the login' },
    'POST /mfa/passkeys/login/options': { public: 'nobody has logged in before the login' },
    'DELETE /mfa/users/:id': 'users:recover',
    '* /mfa/**': { authenticated: 'own second factors only' },
    '* /audit/**': 'audit:read',
  },
}
