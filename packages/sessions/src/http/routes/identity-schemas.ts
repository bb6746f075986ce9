/** The schemas of the routes for identities, which also describe them in OpenAPI. */
import { closed, done, refusals, text } from './schemas.ts'

const tags = ['sessions']
const providerParams = closed({ provider: text({ maxLength: 32 }) })
const returnTo = text({ maxLength: 1024, description: 'A path of this service' })
const visit = { anyOf: [closed({ returnTo }, ['returnTo']), { type: 'null' }] }
/** As for a logout: clients without cookies send the refresh token. */
const logout = {
  anyOf: [
    closed({ returnTo, refresh_token: text({ maxLength: 128 }) }, ['returnTo', 'refresh_token']),
    { type: 'null' },
  ],
}
const elsewhere = (description: string) => closed({ url: text({ description }) })

const identity = closed({
  id: text(),
  provider: text({ description: 'The name of the identity provider' }),
  subject: text({ description: 'The user at the provider' }),
  linkedAt: { type: 'integer', description: 'Milliseconds since the Unix epoch' },
})

/** The schema of each route. */
export const identitySchemas = {
  stepUp: {
    operationId: 'stepUpAtProvider',
    summary: 'Begin to authenticate again at an identity provider; the page opens the URL',
    tags,
    params: providerParams,
    body: visit,
    response: { 200: elsewhere('At the provider'), ...refusals },
  },
  logout: {
    operationId: 'logOutAtProvider',
    summary: 'Log out here, and get the URL at which the browser logs out of the identity provider',
    tags,
    body: logout,
    response: { 200: elsewhere('At the provider, or a path of this service'), ...refusals },
  },
  loggedOut: {
    operationId: 'returnFromLogout',
    summary: 'Return from a logout: the identity provider redirects the browser here',
    tags,
    params: providerParams,
    querystring: {
      type: 'object',
      additionalProperties: true,
      properties: { state: text({ maxLength: 2048 }) },
    },
    response: {
      303: { type: 'null', description: 'Redirect to a path of this service' },
      ...refusals,
    },
  },
  list: {
    operationId: 'listOwnIdentities',
    summary: 'List the identities at providers with which the user can log in',
    tags,
    response: { 200: closed({ identities: { type: 'array', items: identity } }), ...refusals },
  },
  link: {
    operationId: 'linkIdentity',
    summary: 'Begin to link an identity at a provider, after a fresh login; the page opens the URL',
    tags,
    params: providerParams,
    body: visit,
    response: { 200: elsewhere('At the provider'), ...refusals },
  },
  unlink: {
    operationId: 'unlinkIdentity',
    summary: 'Remove a link, after a fresh login; the last way to log in is kept',
    tags,
    params: closed({ id: text({ pattern: '^[A-Za-z0-9_-]{22}$' }) }),
    response: done,
  },
} as const
