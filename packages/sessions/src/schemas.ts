/** What comes in and goes out of the routes, and how OpenAPI describes them. */
import { problemMediaType } from '@parapet/kit'
import { Type, type TObject, type TProperties } from '@sinclair/typebox'

const tags = ['sessions']

/** Whatever the app's error handler says of a refusal passes; a problem is what it should be. */
const refusal = (description: string) => ({
  description,
  content: { [problemMediaType]: { schema: Type.Object({}, { additionalProperties: true }) } },
})
const refusals = {
  '4xx': refusal('The request was refused'),
  '5xx': refusal('It could not be decided'),
}

function closed<P extends TProperties>(properties: P): TObject<P> {
  return Type.Object(properties, { additionalProperties: false })
}

const RefreshBody = closed({
  refreshToken: Type.Optional(
    Type.String({ maxLength: 128, description: 'Left out where it travels in a cookie' }),
  ),
})

/** The tokens, or where they went. The names are those of RFC 6749, section 5.1. */
export const Tokens = closed({
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer({ description: 'Seconds for which the access token is good' }),
  access_token: Type.Optional(Type.String({ description: 'Absent where it travels in a cookie' })),
  refresh_token: Type.Optional(Type.String({ description: 'Absent where it travels in a cookie' })),
})

const Session = closed({
  id: Type.String(),
  current: Type.Boolean({ description: 'Whether it is the session of this request' }),
  startedAt: Type.Integer({ description: 'Milliseconds since 1970, as all times here' }),
  lastSeenAt: Type.Integer({ description: 'The last refresh, or the login' }),
  expiresAt: Type.Integer(),
  amr: Type.Array(Type.String(), { description: 'How the user proved who they are, RFC 8176' }),
  ip: Type.Optional(Type.String()),
  userAgent: Type.Optional(Type.String()),
})

const nothing = { 204: Type.Null({ description: 'Done' }), ...refusals }

/** The schemas of the routes. */
export const routeSchemas = {
  login: {
    operationId: 'logIn',
    summary: 'Begin a session with a password',
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
    summary: 'End the session of this request, and let the browser forget it',
    tags,
    body: Type.Union([RefreshBody, Type.Null()]),
    response: nothing,
  },
  list: {
    operationId: 'listOwnSessions',
    summary: 'List own sessions, the one used last first',
    tags,
    response: { 200: closed({ sessions: Type.Array(Session) }), ...refusals },
  },
  endOthers: {
    operationId: 'endOtherSessions',
    summary: 'End all own sessions but this one',
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
    summary: 'The public keys that verify access tokens, RFC 7517',
    tags,
    response: {
      200: Type.Object({ keys: Type.Array(Type.Object({}, { additionalProperties: true })) }),
      304: Type.Null({ description: 'The keys are those that If-None-Match names' }),
      ...refusals,
    },
  },
  oidcBegin: {
    operationId: 'beginSingleSignOn',
    summary: 'Send the browser to an identity provider',
    tags,
    params: closed({ provider: Type.String({ maxLength: 32 }) }),
    querystring: closed({ returnTo: Type.Optional(Type.String({ maxLength: 1024 })) }),
    response: { 303: Type.Null({ description: 'Go to the provider' }), ...refusals },
  },
  oidcFinish: {
    operationId: 'finishSingleSignOn',
    summary: 'Where the identity provider sends the browser back to',
    tags,
    params: closed({ provider: Type.String({ maxLength: 32 }) }),
    response: { 200: Tokens, 303: Type.Null({ description: 'Logged in, by cookie' }), ...refusals },
  },
} as const
