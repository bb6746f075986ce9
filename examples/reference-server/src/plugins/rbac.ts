/** The options of `@parapet/rbac`: the policy, and the rules of routes that other plugins register. */
import type { SqlClient } from '@parapet/kit'
import { createPostgresRelations, type RbacOptions, type RbacRule } from '@parapet/rbac'
import { policy } from '../access/policy.ts'
import { inApi } from '../http/api.ts'

/**
 * A route without a rule stops the start, so every route of a plugin is listed here, except for those
 * that declare a rule themselves.
 */
const routes: NonNullable<RbacOptions['routes']> = {
  'GET /openapi.json': { public: 'clients are generated from it' },
  'GET /docs': { public: 'it shows what /openapi.json says' },
  '* /docs/**': { public: 'it shows what /openapi.json says' },
  'GET /.well-known/security.txt': { public: 'finders of a weakness have no account' },
  'POST /_reports': { public: 'browsers send reports without credentials' },
  'GET /challenge': { public: 'clients solve it before they log in' },
  '* /challenge/**': { public: 'clients solve it before they log in' },
  ...inApi<RbacRule>({
    'DELETE /mfa/users/:id': 'users:recover',
    '* /mfa/**': { authenticated: 'own second factors only' },
    '* /audit/**': 'audit:read',
    'POST /privacy/requests/by-contact': { public: 'people ask who cannot log in' },
    'POST /privacy/requests/confirm': { public: 'the token is the proof' },
    'POST /privacy/archives': { public: 'the link is the proof' },
    'GET /privacy/keys': { public: 'anybody verifies a receipt' },
    '* /privacy/admin/**': 'privacy:manage',
    '* /privacy/**': { authenticated: 'own data only' },
  }),
}

/** Creates the options. Relations are in the database of the content, so that one query reads both. */
export async function createRbacOptions(sql: SqlClient): Promise<RbacOptions> {
  return { policy, routes, relations: await createPostgresRelations(sql) }
}
