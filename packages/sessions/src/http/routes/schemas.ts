/** The schemas of the routes, which also describe them in OpenAPI. */
import { problemMediaType } from '@parapet/kit'

const tags = ['sessions']

export const text = (members: object = {}) => ({ type: 'string', ...members })
const integer = (description?: string) => ({
  type: 'integer',
  ...(description === undefined ? undefined : { description }),
})
const nothing = (description: string) => ({ type: 'null', description })
const texts = (description: string) => ({ type: 'array', items: text(), description })
const anyObject = (description: string) => ({
  type: 'object',
  additionalProperties: true,
  description,
})

/** An object with these members and no others; those in `optional` may be left out. */
export function closed(
  properties: Readonly<Record<string, object>>,
  optional: readonly string[] = [],
) {
  const required = Object.keys(properties).filter((name) => !optional.includes(name))
  return {
    type: 'object',
    additionalProperties: false,
    ...(required.length === 0 ? undefined : { required }),
    properties,
  }
}

/** The application's error handler decides the members; problem details (RFC 9457) are expected. */
const refusal = (description: string) => ({
  description,
  content: { [problemMediaType]: { schema: { type: 'object', additionalProperties: true } } },
})
export const refusals = {
  '4xx': refusal('The request is refused'),
  '5xx': refusal('A service that the request needs does not answer'),
}

/** `refreshToken` is accepted as well, for clients that do not use the names of RFC 6749. */
const refreshBody = {
  anyOf: [
    closed(
      {
        refresh_token: text({ maxLength: 128, description: 'Leave it out if cookies are used' }),
        refreshToken: text({ maxLength: 128, description: 'Another name for refresh_token' }),
      },
      ['refresh_token', 'refreshToken'],
    ),
    { type: 'null' },
  ],
}

/** The response of a login or a refresh. The names are those of RFC 6749, section 5.1. */
export const tokens = closed(
  {
    token_type: { type: 'string', const: 'Bearer' },
    expires_in: integer('Seconds until the access token expires'),
    access_token: text({ description: 'Absent if cookies are used' }),
    refresh_token: text({ description: 'Absent if cookies are used' }),
  },
  ['access_token', 'refresh_token'],
)

const methods = texts('The methods with which the user can finish the login')
const ticket = text({ minLength: 1, maxLength: 128, description: 'From the first step' })
export const pending = {
  ...closed({ ticket: text(), expires_in: integer('Seconds until the ticket expires'), methods }),
  description: 'The login needs a second step',
}

const session = closed(
  {
    id: text(),
    current: { type: 'boolean', description: 'Whether it is the session of this request' },
    startedAt: integer('Milliseconds since the Unix epoch, like the other times'),
    lastSeenAt: integer('The time of the last refresh, or of the login'),
    expiresAt: integer(),
    amr: texts('How the user authenticated (RFC 8176)'),
    label: text({ description: 'What kind of device it is: Firefox on Linux' }),
    name: text({ description: 'What the user calls it' }),
    place: text({ description: 'Approximately' }),
    actorId: text({ description: 'The operator who acts as the user in this session' }),
    ip: text(),
    userAgent: text(),
  },
  ['ip', 'userAgent', 'name', 'place', 'actorId'],
)

export const done = { 204: nothing('Done'), ...refusals }
const sessionParams = closed({ id: text({ pattern: '^[A-Za-z0-9_-]{22}$' }) })
const providerParams = closed({ provider: text({ maxLength: 32 }) })

const oidcFinished = {
  200: {
    description: 'Logged in. With strict cookies, a page that forwards to `returnTo`',
    content: { 'application/json': { schema: tokens }, 'text/html': { schema: text() } },
  },
  202: pending,
  303: nothing('Logged in; the tokens are in cookies'),
  ...refusals,
}

/** The schema of each route. */
export const routeSchemas = {
  login: {
    operationId: 'logIn',
    summary: 'Log in with a password and start a session',
    tags,
    body: closed({
      // PostgreSQL refuses U+0000, so no account can have it in its name.
      login: text({ minLength: 1, maxLength: 254, pattern: '^[^\\u0000]*$' }),
      password: text({ minLength: 1, maxLength: 1024 }),
    }),
    response: { 200: tokens, 202: pending, ...refusals },
  },
  secondFactorOptions: {
    operationId: 'getSecondFactorOptions',
    summary: 'Get the methods for the second step of a login, and a challenge for passkeys',
    tags,
    body: { anyOf: [closed({ ticket }, ['ticket']), { type: 'null' }] },
    response: {
      200: closed({ methods, passkey: anyObject('For parseRequestOptionsFromJSON') }, ['passkey']),
      ...refusals,
    },
  },
  secondFactor: {
    operationId: 'finishLogin',
    summary: 'Finish a login with a code or a passkey and start a session',
    tags,
    body: {
      ...closed(
        {
          ticket,
          code: text({ minLength: 1, maxLength: 64, description: 'As the user typed it' }),
          passkey: anyObject('The credential, from its toJSON()'),
          rememberDevice: { type: 'boolean', description: 'Whether to remember this device' },
        },
        ['ticket', 'code', 'passkey', 'rememberDevice'],
      ),
      oneOf: [{ required: ['code'] }, { required: ['passkey'] }],
    },
    response: { 200: tokens, ...refusals },
  },
  refresh: {
    operationId: 'refreshSession',
    summary: 'Exchange a refresh token for new tokens',
    tags,
    body: refreshBody,
    response: { 200: tokens, ...refusals },
  },
  logout: {
    operationId: 'logOut',
    summary: 'Log out: end the session and delete its cookies',
    tags,
    body: refreshBody,
    response: done,
  },
  list: {
    operationId: 'listOwnSessions',
    summary: 'List the own sessions, the most recently used first',
    tags,
    response: { 200: closed({ sessions: { type: 'array', items: session } }), ...refusals },
  },
  endOthers: {
    operationId: 'endOtherSessions',
    summary: 'End all own sessions except the current one',
    tags,
    response: done,
  },
  nameDevice: {
    operationId: 'nameDevice',
    summary: 'Name the device of one of the own sessions',
    tags,
    params: sessionParams,
    body: closed({
      name: text({ minLength: 1, maxLength: 64, pattern: '^[^\\p{Cc}\\p{Cs}]+$' }),
    }),
    response: done,
  },
  endOne: {
    operationId: 'endOwnSession',
    summary: 'End one of the own sessions',
    tags,
    params: sessionParams,
    response: done,
  },
  jwks: {
    operationId: 'getJwks',
    summary: 'Get the public keys that verify access tokens (RFC 7517)',
    tags,
    response: {
      200: {
        type: 'object',
        required: ['keys'],
        properties: { keys: { type: 'array', items: anyObject('A public key') } },
      },
      304: nothing('The keys have not changed since the ETag in If-None-Match'),
      ...refusals,
    },
  },
  oidcStart: {
    operationId: 'beginSingleSignOn',
    summary: 'Redirect the browser to an identity provider',
    tags,
    params: providerParams,
    querystring: closed({ returnTo: text({ maxLength: 1024 }) }, ['returnTo']),
    response: { 303: nothing('Redirect to the provider'), ...refusals },
  },
  oidcLogout: {
    operationId: 'logOutByProvider',
    summary: 'End the sessions that came from a session of the identity provider, which calls this',
    tags,
    params: providerParams,
    body: {
      content: {
        'application/x-www-form-urlencoded': {
          schema: text({ description: 'OpenID Connect Back-Channel Logout 1.0: logout_token' }),
        },
      },
    },
    response: { 200: nothing('Done'), ...refusals },
  },
  oidcFinishForm: {
    operationId: 'finishSingleSignOnByForm',
    summary: 'Finish a login: the browser sends here a form of the identity provider',
    tags,
    params: providerParams,
    body: {
      content: {
        'application/x-www-form-urlencoded': {
          schema: text({ description: 'OAuth 2.0 Form Post Response Mode' }),
        },
      },
    },
    response: oidcFinished,
  },
  oidcFinish: {
    operationId: 'finishSingleSignOn',
    summary: 'Finish a login: the identity provider redirects the browser here',
    tags,
    params: providerParams,
    response: oidcFinished,
  },
} as const
