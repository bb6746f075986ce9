/** Exchanges an authorization code for a verified ID token. */
import type {
  Configuration,
  TokenEndpointResponse,
  TokenEndpointResponseHelpers,
} from 'openid-client'
import { PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { isForThisLogin, type IdTokenClaims } from './id-token.ts'
import type { LoginTicket } from './login-ticket.ts'
import { loadClient, type ProviderSettings } from './provider.ts'

/**
 * Exchanges the code of a callback and verifies the ID token.
 *
 * @param query the query of the callback, exactly as it was sent.
 * @throws PARAPET_SESSIONS_SSO_REFUSED the provider refused, or its response is invalid.
 * @throws PARAPET_SESSIONS_UNAVAILABLE the provider does not answer.
 */
export async function exchangeCode(
  configuration: Configuration,
  { clientId, redirectUri }: ProviderSettings,
  query: URLSearchParams,
  { state, nonce, verifier }: LoginTicket,
): Promise<IdTokenClaims> {
  const callback = new URL(redirectUri)
  callback.search = query.toString()
  const client = await loadClient()
  let tokens: TokenEndpointResponse & TokenEndpointResponseHelpers
  try {
    tokens = await client.authorizationCodeGrant(configuration, callback, {
      pkceCodeVerifier: verifier,
      expectedState: state,
      expectedNonce: nonce,
      idTokenExpected: true,
    })
  } catch (error) {
    const Refusal = isOutage(error) ? PARAPET_SESSIONS_UNAVAILABLE : PARAPET_SESSIONS_SSO_REFUSED
    throw new Refusal({ cause: error })
  }
  const claims = tokens.claims()!
  if (isForThisLogin(claims, tokens, clientId)) return claims
  throw new PARAPET_SESSIONS_SSO_REFUSED()
}

/** The codes of the library for a provider that does not answer in time. */
const OUTAGES: ReadonlySet<unknown> = new Set(['OAUTH_TIMEOUT', 'OAUTH_ABORT'])

/** Whether the provider failed, and did not refuse: no connection, no answer in time, or a 5xx. */
function isOutage(error: unknown): boolean {
  // What `fetch` throws without a connection.
  if (error instanceof TypeError) return true
  for (let at = error; at instanceof Error; at = at.cause) {
    const { name, code, status, cause } = at as Error & { code?: unknown; status?: unknown }
    if (name === 'TimeoutError' || OUTAGES.has(code)) return true
    if (Number(cause instanceof Response ? cause.status : status) >= 500) return true
  }
  return false
}
