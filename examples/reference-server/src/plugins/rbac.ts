/** The options of `@parapet/rbac`: the policy, and the rules of routes that other plugins register. */
import type { RbacOptions } from '@parapet/rbac'
import { policy } from '../access/policy.ts'

/**
 * A route without a rule stops the start, so every route of a plugin is listed here, except for those
 * that declare a rule themselves.
 */
export const rbacOptions: RbacOptions = {
  policy,
  routes: {
    'GET /openapi.json': { public: 'clients are generated from it' },
    'POST /_reports': { public: 'browsers send reports without credentials' },
    'GET /challenge': { public: 'clients solve it before they log in' },
    '* /challenge/**': { public: 'clients solve it before they log in' },
    'DELETE /mfa/users/:id': 'users:recover',
    '* /mfa/**': { authenticated: 'own second factors only' },
    '* /audit/**': 'audit:read',
  },
}
