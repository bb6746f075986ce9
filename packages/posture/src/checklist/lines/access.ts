/** The lines on authentication, authorization and rate limits. */
import type { Section } from '../line.ts'

/** Who sends a request. */
export const authentication: Section = {
  name: 'authentication',
  about: 'Who sends a request, and how sure the app can be.',
  lines: {
    'AUT-01': {
      title: 'Every state-changing route requires authentication, or is declared public',
      severity: 'critical',
      checkedBy: ['app', 'requests'],
      fix: 'Add the authentication hook to the route or its plugin, or declare the route under "public" with --public.',
      asvs: ['V8.2.1', 'V6.3.4'],
    },
    'AUT-02': {
      title: 'Every reading route requires authentication, or is declared public',
      severity: 'medium',
      checkedBy: ['requests', 'app'],
      fix: 'Add the authentication hook to the route or its plugin, or declare the route under "public" with --public.',
      asvs: ['V8.2.1'],
    },
    'AUT-03': {
      title: 'Tokens without a valid signature are refused',
      severity: 'critical',
      checkedBy: ['requests', 'source'],
      fix: 'Verify tokens (never decode them only), and list the accepted algorithms.',
      asvs: ['V9.1.1', 'V9.1.2'],
    },
    'AUT-04': {
      title: 'The key that signs tokens and sessions cannot be guessed',
      severity: 'critical',
      checkedBy: ['app', 'requests'],
      fix: 'Generate 32 random bytes ("openssl rand -base64 32"), or sign with EdDSA or ES256.',
      asvs: ['V11.2.3', 'V13.2.3'],
    },
    'AUT-05': {
      title: 'Access tokens expire within a day',
      severity: 'high',
      checkedBy: ['app', 'source'],
      fix: 'Set "expiresIn" to minutes, and renew with refresh tokens that can be revoked.',
      asvs: ['V9.2.1', 'V7.3.2'],
    },
    'AUT-06': {
      title: 'Passwords are hashed with argon2id, scrypt or bcrypt of cost 10 or more',
      severity: 'critical',
      checkedBy: ['source'],
      fix: 'Hash with argon2id (19 MiB, 2 iterations), and upgrade old hashes at the next login.',
      asvs: ['V11.4.2'],
    },
    'AUT-07': {
      title: 'Passwords may be long, and are at least 8 characters',
      severity: 'medium',
      checkedBy: ['app'],
      fix: 'Set minLength to 8 or more (better 15), allow at least 64 characters, and require no composition.',
      asvs: ['V6.2.1', 'V6.2.5', 'V6.2.9'],
    },
    'AUT-08': {
      title: 'Credentials and tokens are never part of an address',
      severity: 'high',
      checkedBy: ['app', 'source'],
      fix: 'Send credentials in a header or in the body; addresses are logged and sent to other sites.',
      asvs: ['V14.2.1'],
    },
    'AUT-09': {
      title: 'A failed login does not reveal whether the account exists',
      severity: 'medium',
      checkedBy: ['source', 'person'],
      fix: 'Answer an unknown account and a wrong password with the same status, text and effort.',
      asvs: ['V6.3.8'],
    },
    'AUT-10': {
      title: 'Secrets are compared in constant time',
      severity: 'medium',
      checkedBy: ['source'],
      fix: 'Compare tokens, signatures and API keys with crypto.timingSafeEqual on hashes of equal length.',
      asvs: ['V11.2.4'],
    },
    'AUT-11': {
      title: 'Administrators and sensitive actions need a second factor',
      severity: 'medium',
      checkedBy: ['app', 'person'],
      fix: 'Require a second factor (TOTP or passkeys) for privileged roles and for changes of credentials.',
      asvs: ['V6.3.3', 'V7.5.3'],
    },
    'AUT-12': {
      title: 'Sessions end at logout, after inactivity, and when the account is disabled',
      severity: 'medium',
      checkedBy: ['app', 'person'],
      fix: 'Revoke access and refresh tokens on the server, and limit idle time and total lifetime.',
      asvs: ['V7.3.1', 'V7.4.1', 'V7.4.2'],
    },
  },
}

/** What the sender may do. */
export const authorization: Section = {
  name: 'authorization',
  about: 'What the sender of a request may do, by route and by role.',
  lines: {
    'AZN-01': {
      title: 'Every route behind the login says which role or permission it needs',
      severity: 'medium',
      checkedBy: ['app', 'person'],
      fix: 'Declare a permission for each route, and refuse routes without one at boot.',
      asvs: ['V8.2.1'],
    },
    'AZN-02': {
      title: 'Administrative routes are closed to everybody else',
      severity: 'critical',
      checkedBy: ['requests', 'app'],
      fix: 'Require an administrative role on every route under /admin, /internal, /debug and the like.',
      asvs: ['V8.2.1', 'V8.4.2'],
    },
    'AZN-03': {
      title: 'A route that reads or changes one object checks to whom it belongs',
      severity: 'high',
      checkedBy: ['app', 'person'],
      fix: 'Filter by the owner or the tenant of the principal in the same query that finds the object.',
      asvs: ['V8.2.2', 'V8.4.1'],
    },
    'AZN-04': {
      title: 'A client cannot set its own role, owner or balance',
      severity: 'high',
      checkedBy: ['app', 'source'],
      fix: 'List the members that a client may write; never spread the body into a record.',
      asvs: ['V15.3.3', 'V8.2.3'],
    },
    'AZN-05': {
      title: 'Another spelling or method of a route is guarded, too',
      severity: 'critical',
      checkedBy: ['requests'],
      fix: 'Guard routes by hooks of Fastify, never by comparing request.url with a path.',
      asvs: ['V8.3.1'],
    },
    'AZN-06': {
      title: 'Each role reaches only the routes that it should',
      severity: 'high',
      checkedBy: ['requests', 'app', 'person'],
      fix: 'Give the headers of each role under "roles", and compare the matrix of routes and roles with your policy.',
      asvs: ['V8.2.1', 'V8.1.1'],
    },
  },
}

/** How often. */
export const rateLimits: Section = {
  name: 'rate limits',
  about: 'How often a client may try.',
  lines: {
    'RAT-01': {
      title: 'Every route limits the requests of one client',
      severity: 'medium',
      checkedBy: ['requests', 'app'],
      fix: 'Register a rate limiter on the root instance before the routes, with a store that all instances share.',
      asvs: ['V2.4.1'],
    },
    'RAT-02': {
      title: 'Routes that check a credential have a stricter limit',
      severity: 'high',
      checkedBy: ['requests', 'app'],
      fix: 'Allow about 5 attempts a minute by account and by address on login, codes and password resets.',
      asvs: ['V6.3.1'],
    },
    'RAT-03': {
      title: 'A client cannot choose its own address',
      severity: 'high',
      checkedBy: ['app', 'source'],
      fix: 'Set trustProxy to the addresses of your proxies, and use request.ip, never X-Forwarded-For itself.',
      asvs: ['V15.3.4', 'V4.1.3'],
    },
  },
}
