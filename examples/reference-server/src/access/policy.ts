/** Roles and permissions. A route names a permission; this policy says which roles have it. */
import { definePolicy, eq, ne } from '@parapet/rbac'

/** The policy of this service. Reading public resources needs no permission. */
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
    'security:read',
    'security:write',
  ],
  resources: { users: { id: 'string' }, content: { authorId: 'string' } },
  roles: {
    /** The role of new users: reads and changes their own account. */
    viewer: {
      when: {
        'users:read': ({ subject, resource }) => eq(resource.id, subject.id),
        'users:write': ({ subject, resource }) => eq(resource.id, subject.id),
      },
    },
    /** Writes content and reads drafts, each only as their author. */
    editor: {
      inherits: ['viewer'],
      when: {
        'content:read': ({ subject, resource }) => eq(resource.authorId, subject.id),
        'content:write': ({ subject, resource }) => eq(resource.authorId, subject.id),
      },
    },
    /** Creates, changes and deletes artists. */
    booker: { inherits: ['viewer'], grants: ['artists:write'] },
    /**
     * Has every permission, with two exceptions: administrators cannot change their own roles, and
     * delete their own account only through `DELETE /users/me`, which requires a second factor.
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
        'security:*',
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
/** Every role, the one with the fewest permissions first. */
export const roles = Object.freeze(Object.keys(policy.roles)) as readonly Role[]
