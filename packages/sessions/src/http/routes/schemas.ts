/** The schemas of the routes, which also describe them in OpenAPI. */
import { problemMediaType } from '@parapet/kit'
import { Type, type TObject, type TProperties } from '@sinclair/typebox'

const tags = ['sessions']

/** The application's error handler decides the members; problem details (RFC 9457) are expected. */
const refusal = (description: string) => ({
  description,
  content: { [problemMediaType]: { schema: Type.Object({}, { additionalProperties: true }) } },
})
const refusals = {
  '4xx': refusal('The request is refused'),
  '5xx': refusal('A service that the request needs does not answer'),
}

function closed<P extends TProperties>(properties: P): TObject<P> {
  return Type.Object(properties, { additionalProperties: false })
}

const RefreshBody = closed({
  refreshToken: Type.Optional(
    Type.String({ maxLength: 128, description: 'Leave it out if cookies are used' }),
  ),
})

/** The response of a login or a refresh. The names are those of RFC 6749, section 5.1. */
export const Tokens = closed({
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ description: 'Seconds until the access token expires' }),
  access_token: Type.Optional(Type.String({ description: 'Absent if cookies are used' })),
  refresh_token: Type.Optional(Type.String({ description: 'Absent if cookies are used' })),
})

const Session = closed({
  id: Type.String(),
  current: Type.Boolean({ description: 'Whether it is the session of this request' }),
  startedAt: Type.Integer({
    description: 'Milliseconds since the Unix epoch, like the other times',
  }),
  lastSeenAt: Type.Integer({ description: 'The time of the last refresh, or of the login' }),
  expiresAt: Type.Integer(),
  amr: Type.Array(Type.String(), { description: 'How the user authenticated (RFC 8176)' }),
  ip: Type.Optional(Type.String()),
  userAgent: Type.Optional(Type.String()),
})

const nothing = { 204: Type.Null({ description: 'Done' }), ...refusals }

/** The schema of each route. */
export const routeSchemas = {
  login: {
    operationId: 'logIn',
    summary: 'Log in with a password and start a session',
    tags,
    body: closed({
      login: Type.String({ minLength: 1, maxLength: 254 }),
      password: Type.String({ minLength: 1, maxLength: 1024 }),
    }),
    response: { 200: Tokens, ...refusals },
  },
  refresh: {
    operationId: 'refreshSession',
    summary: 'Exchange a refresh token for new tokens',
    tags,
    body: Type.Union([RefreshBody, Type.Null()]),
    response: { 200: Tokens, ...refusals },
  },
  logout: {
    operationId: 'logOut',
    summary: 'Log out: end the session and delete cookies, cache and storage of the browser',
    tags,
    body: Type.Union([RefreshBody, Type.Null()]),
    response: nothing,
  },
  list: {
    operationId: 'listOwnSessions',
    summary: 'List the own sessions, the most recently used first',
    tags,
    response: { 200: closed({ sessions: Type.Array(Session) }), ...refusals },
  },
  endOthers: {
    operationId: 'endOtherSessions',
    summary: 'End all own sessions except the current one',
    tags,
    response: nothing,
  },
  endOne: {
    operationId: 'endOwnSession',
    summary: 'End one of the own sessions',
    tags,
    params: closed({ id: Type.String({ pattern: '^[A-Za-z0-9_-]{22}$' }) }),
    response: nothing,
  },
  jwks: {
    operationId: 'getJwks',
    summary: 'Get the public keys that verify access tokens (RFC 7517)',
    tags,
    response: {
      200: Type.Object({ keys: Type.Array(Type.Object({}, { additionalProperties: true })) }),
      304: Type.Null({ description: 'The keys have not changed since the ETag in If-None-Match' }),
      ...refusals,
    },
  },
  oidcStart: {
    operationId: 'beginSingleSignOn',
    summary: 'Redirect the browser to an identity provider',
    tags,
    params: closed({ provider: Type.String({ maxLength: 32 }) }),
    querystring: closed({ returnTo: Type.Optional(Type.String({ maxLength: 1024 })) }),
    response: { 303: Type.Null({ description: 'Redirect to the provider' }), ...refusals },
  },
  oidcFinish: {
    operationId: 'finishSingleSignOn',
    summary: 'Finish a login: the identity provider redirects the browser here',
    tags,
    params: closed({ provider: Type.String({ maxLength: 32 }) }),
    response: {
      200: Tokens,
      303: Type.Null({ description: 'Logged in; the tokens are in cookies' }),
      ...refusals,
    },
  },
} as const
