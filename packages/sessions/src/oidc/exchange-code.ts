/** Exchanges an authorization code for a verified ID token, and the claims of the userinfo endpoint. */
import type {
  Configuration,
  TokenEndpointResponse,
  TokenEndpointResponseHelpers,
  UserInfoResponse,
} from 'openid-client'
import { PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { isPromptEnough } from './authorization-request.ts'
import { loadClient } from './discovery.ts'
import { isForThisLogin, joinClaims, type IdTokenClaims } from './id-token.ts'
import type { LoginTicket } from './login-ticket.ts'
import type { ProviderSettings } from './provider.ts'

/** How far the clock of a provider may be behind. The library has the same. */
const TOLERANCE_MS = 30_000

/** What a provider said about a user. */
export interface ProviderClaims {
  /** The claims of the ID token, which is about this login. */
  readonly claims: IdTokenClaims
  /** Those of the userinfo endpoint, and over them those of the ID token: they describe the user. */
  readonly profile: IdTokenClaims
  /** The ID token itself, for a logout at the provider. */
  readonly idToken: string
}

/**
 * Exchanges the code of a callback and verifies the ID token.
 *
 * @param response the parameters of the callback, exactly as they were sent.
 * @param now milliseconds since the Unix epoch, by the clock of the ticket.
 * @throws PARAPET_SESSIONS_SSO_REFUSED the provider refused, or its response is invalid.
 * @throws PARAPET_SESSIONS_UNAVAILABLE the provider does not answer.
 */
export async function exchangeCode(
  configuration: Configuration,
  provider: ProviderSettings,
  response: URLSearchParams,
  ticket: LoginTicket,
  now: number,
): Promise<ProviderClaims> {
  const { clientId, acrValues } = provider
  const callback = new URL(provider.redirectUri)
  callback.search = response.toString()
  const client = await loadClient()
  let tokens: TokenEndpointResponse & TokenEndpointResponseHelpers
  try {
    tokens = await client.authorizationCodeGrant(configuration, callback, {
      pkceCodeVerifier: ticket.verifier,
      expectedState: ticket.state,
      expectedNonce: ticket.nonce,
      idTokenExpected: true,
      // The library requires `auth_time` with it.
      ...(isPromptEnough(provider) ? undefined : maxAgeOf(provider, ticket, now)),
    })
  } catch (error) {
    throw refusalFor(error)
  }
  const claims = tokens.claims()!
  if (!isForThisLogin(claims, tokens, clientId)) throw new PARAPET_SESSIONS_SSO_REFUSED()
  if (isTooOld(claims, provider, ticket)) throw new PARAPET_SESSIONS_SSO_REFUSED()
  // A provider may ignore `acr_values`.
  if (acrValues !== undefined && !acrValues.some((level) => level === claims['acr'])) {
    throw new PARAPET_SESSIONS_SSO_REFUSED()
  }
  const idToken = tokens.id_token!
  if (!provider.userinfo) return { claims, profile: claims, idToken }
  const { sub } = claims
  const found = await loadUserinfo(configuration, tokens.access_token, sub)
  return { claims, profile: joinClaims(claims, found), idToken }
}

/**
 * The age counts from the start of the login: a slow consent after it makes no login too old. Another instance, whose
 * clock is ahead, may have begun it: the library takes no negative age.
 */
function maxAgeOf(
  { maxAgeMs }: ProviderSettings,
  { startedAt }: LoginTicket,
  now: number,
): { readonly maxAge?: number } {
  if (maxAgeMs === undefined) return {}
  return { maxAge: Math.floor((maxAgeMs + Math.max(0, now - startedAt)) / 1000) }
}

/** The same for a provider that may leave out `auth_time`, and has not. */
function isTooOld(
  { auth_time: authTime }: IdTokenClaims,
  provider: ProviderSettings,
  { startedAt }: LoginTicket,
): boolean {
  const { maxAgeMs } = provider
  if (!isPromptEnough(provider) || authTime === undefined || maxAgeMs === undefined) return false
  return Number(authTime) * 1000 + maxAgeMs + TOLERANCE_MS < startedAt
}

/** Refuses the claims of another subject. @see OpenID Connect Core 1.0, section 5.3.2 */
async function loadUserinfo(
  configuration: Configuration,
  accessToken: string,
  subject: string,
): Promise<UserInfoResponse> {
  const client = await loadClient()
  try {
    return await client.fetchUserInfo(configuration, accessToken, subject)
  } catch (error) {
    throw refusalFor(error)
  }
}

/** The error of a login whose exchange failed. */
function refusalFor(error: unknown): Error {
  const Refusal = isProviderFault(error)
    ? PARAPET_SESSIONS_UNAVAILABLE
    : PARAPET_SESSIONS_SSO_REFUSED
  return new Refusal({ cause: error })
}

/** The codes of the library for a provider that does not answer in time, or not as the protocol says. */
const FAULTS: ReadonlySet<unknown> = new Set([
  'OAUTH_TIMEOUT',
  'OAUTH_ABORT',
  'OAUTH_PARSE_ERROR',
  'OAUTH_RESPONSE_IS_NOT_JSON',
  'OAUTH_MISSING_SERVER_METADATA',
  'OAUTH_INVALID_SERVER_METADATA',
])
/** What a provider says of itself in an error response. @see RFC 6749, section 4.1.2.1 */
const OWN_FAULTS: ReadonlySet<unknown> = new Set(['server_error', 'temporarily_unavailable'])
const TOO_MANY_REQUESTS = 429

/**
 * Whether the provider failed: no connection, no answer in time, a status or a body that the protocol does
 * not know. What it says about this login, such as an error or an ID token, is a refusal.
 */
function isProviderFault(error: unknown): boolean {
  // What `fetch` throws without a connection.
  if (error instanceof TypeError) return true
  for (let at = error; at instanceof Error; at = at.cause) {
    const { name, code, status, error: said, cause } = at as Error & Record<string, unknown>
    // `DataError`: WebCrypto cannot read a key of the provider.
    if (name === 'TimeoutError' || name === 'DataError') return true
    if (FAULTS.has(code) || OWN_FAULTS.has(said)) return true
    const answered = cause instanceof Response ? cause.status : status
    if (typeof answered === 'number') return isFaultStatus(answered)
    if (code === 'OAUTH_INVALID_RESPONSE' && isBrokenBody(cause)) return true
  }
  return false
}

/** Any status but a refusal. */
function isFaultStatus(status: number): boolean {
  return status < 400 || status >= 500 || status === TOO_MANY_REQUESTS
}

/** What the library says about a body, also that of the keys, whose members are missing or have other types. */
function isBrokenBody(cause: unknown): boolean {
  return typeof cause === 'object' && cause !== null && Object.hasOwn(cause, 'body')
}
