/** Roles and permissions. A route names a permission; this policy says which roles have it. */
import { definePolicy, eq, ne, related } from '@parapet/rbac'

/** The policy of this service. Reading public resources needs no permission. */
export const policy = definePolicy({
  permissions: [
    'users:list',
    'users:read',
    'users:write',
    'users:delete',
    'users:grant',
    'users:recover',
    'users:operate',
    'content:read',
    'content:write',
    'artists:write',
    'venues:write',
    'bookings:write',
    'bookings:confirm',
    'analytics:read',
    'data:export',
    'metrics:read',
    'audit:read',
    'security:read',
    'security:write',
    'privacy:manage',
    'incidents:read',
    'incidents:write',
  ],
  resources: {
    users: { id: 'string' },
    content: { id: 'uuid', authorId: 'string' },
    bookings: { userId: 'string' },
  },
  /** An author shares a draft with reviewers. */
  relations: { content: { reviewer: { direct: ['user'] } } },
  roles: {
    /** The role of new users: the own account, concerts, and drafts to review. */
    viewer: {
      when: {
        'users:read': ({ subject, resource }) => eq(resource.id, subject.id),
        'users:write': ({ subject, resource }) => eq(resource.id, subject.id),
        'content:read': ({ resource }) => related('content#reviewer', resource.id),
        'bookings:write': ({ subject, resource }) => eq(resource.userId, subject.id),
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
    /** Manages artists and venues, confirms bookings and sees how the business goes. */
    booker: {
      inherits: ['viewer'],
      grants: ['artists:*', 'venues:*', 'bookings:*', 'analytics:read'],
    },
    /**
     * Has every permission, with three exceptions: administrators cannot change their own roles, lock themselves
     * out, and delete their own account only through `DELETE /api/v1/users/me`, which requires a second factor.
     */
    admin: {
      grants: [
        'users:list',
        'users:read',
        'users:write',
        'users:recover',
        'content:*',
        'artists:*',
        'venues:*',
        'bookings:*',
        'analytics:*',
        'data:*',
        'metrics:*',
        'audit:*',
        'security:*',
        'privacy:manage',
        'incidents:*',
      ],
      when: {
        'users:delete': ({ subject, resource }) => ne(resource.id, subject.id),
        'users:grant': ({ subject, resource }) => ne(resource.id, subject.id),
        'users:operate': ({ subject, resource }) => ne(resource.id, subject.id),
      },
    },
  },
})

/** A role of this service. */
export type Role = keyof typeof policy.roles
/** Every role, the one with the fewest permissions first. */
export const roles = Object.freeze(Object.keys(policy.roles)) as readonly Role[]
