/** The parameters with which the browser goes to a provider. */
import type * as client from 'openid-client'
import type { LoginTicket, Purpose } from './login-ticket.ts'
import { acceptPromptAsLogin, type ProviderSettings } from './provider.ts'

/**
 * What is asked of a provider for a purpose. A link or a step-up is never answered by a session of the
 * provider alone: its user must act.
 */
export function settingsFor(provider: ProviderSettings, purpose: Purpose): ProviderSettings {
  if (purpose === 'login') return provider
  if (purpose === 'link') return { ...provider, prompt: provider.prompt ?? ['login'] }
  const { acrValues = provider.acrValues, maxAgeMs = 0, prompt = ['login'] } = provider.stepUp ?? {}
  return { ...provider, acrValues, maxAgeMs, prompt }
}

/** Whether a visit counts as a login where the provider does not say when the user authenticated. */
export function isPromptEnough({
  prompt,
  [acceptPromptAsLogin]: accepts,
}: ProviderSettings): boolean {
  return accepts && prompt?.includes('login') === true
}

/** @see OpenID Connect Core 1.0, section 3.1.2.1; OAuth 2.0 Form Post Response Mode, section 2 */
export async function requestParameters(
  { calculatePKCECodeChallenge }: typeof client,
  provider: ProviderSettings,
  { state, nonce, verifier }: LoginTicket,
): Promise<Record<string, string>> {
  const { redirectUri, scopes, responseMode, prompt, acrValues, maxAgeMs } = provider
  return {
    redirect_uri: redirectUri,
    scope: (scopes ?? ['openid', 'profile', 'email']).join(' '),
    code_challenge: await calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...(responseMode === 'query' ? undefined : { response_mode: responseMode }),
    ...(prompt === undefined ? undefined : { prompt: prompt.join(' ') }),
    ...(acrValues === undefined ? undefined : { acr_values: acrValues.join(' ') }),
    ...(maxAgeMs === undefined ? undefined : { max_age: String(Math.floor(maxAgeMs / 1000)) }),
  }
}
