/** The options of `@parapet/rbac`: the policy, and the rules of routes that other plugins register. */
import type { RbacOptions } from '@parapet/rbac'
import { policy } from '../access/policy.ts'

/** A route without a rule stops the start, so every route of a plugin is listed here. */
export const rbacOptions: RbacOptions = {
  policy,
  routes: {
    'GET /openapi.json': { public: 'clients are generated from it' },
    'POST /_reports': { public: 'browsers send reports without credentials' },
    'GET /.well-known/jwks.json': { public: 'the keys are public' },
    'POST /auth/login': { public: 'the client has no session before the login' },
    'POST /auth/refresh': { public: 'the refresh token authenticates the request' },
    'POST /auth/logout': { public: 'the token of the session authenticates the request' },
    'GET /auth/sessions': { authenticated: 'own sessions only' },
    'DELETE /auth/sessions': { authenticated: 'own sessions only' },
    'DELETE /auth/sessions/:id': { authenticated: 'own sessions only' },
    'POST /mfa/passkeys/login': { public: 'the client has no session before the login' },
    'POST /mfa/passkeys/login/options': { public: 'the client has no session before the login' },
    'DELETE /mfa/users/:id': 'users:recover',
    '* /mfa/**': { authenticated: 'own second factors only' },
    '* /audit/**': 'audit:read',
  },
}
