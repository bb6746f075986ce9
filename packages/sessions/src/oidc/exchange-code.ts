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
    const isUnreachable = error instanceof TypeError || (error as Error).name === 'TimeoutError'
    const Refusal = isUnreachable ? PARAPET_SESSIONS_UNAVAILABLE : PARAPET_SESSIONS_SSO_REFUSED
    throw new Refusal({ cause: error })
  }
  const claims = tokens.claims()!
  if (isForThisLogin(claims, tokens, clientId)) return claims
  throw new PARAPET_SESSIONS_SSO_REFUSED()
}
