/**
 * Login through an OpenID provider: authorization code flow with PKCE, state and nonce.
 *
 * @see OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9700, section 2.1
 */
import type { Store } from '@parapet/kit'
import type { Configuration } from 'openid-client'
import { PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_SSO_REFUSED } from '../errors.ts'
import type { LoginProof, SessionUser } from '../users/user.ts'
import { exchangeCode } from './exchange-code.ts'
import { proofOf, userOf } from './id-token.ts'
import { isLocalPath } from './local-path.ts'
import { createTickets, LOGIN_LIFETIME_MS } from './login-ticket.ts'
import { discoverProvider, loadClient, type ProviderSettings } from './provider.ts'

/** What the browser needs to go to the provider. */
export interface StartedLogin {
  readonly url: string
  /** The end of the name of the cookie: the state that the callback will have. */
  readonly state: string
  /** The value of the cookie that the browser sends with the callback. */
  readonly cookie: string
}

/** A login that succeeded. */
export interface FinishedLogin {
  readonly user: SessionUser
  readonly proof: LoginProof
  /** Whether the provider is trusted to have checked a second factor. */
  readonly isMultiFactor: boolean
  /** A path of this service. */
  readonly returnTo: string
}

/** What {@link createSingleSignOn} needs. */
export interface SingleSignOnSettings {
  readonly providers: Readonly<Record<string, ProviderSettings>>
  readonly store: Store
  /** The first protects new logins; all of them verify logins that have begun. */
  readonly secrets: readonly string[]
  readonly now: () => number
}

/** See {@link createSingleSignOn}. */
export interface SingleSignOn {
  /**
   * @param returnTo a path of this service; anything else is replaced by `/`.
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_UNAVAILABLE
   */
  start(provider: string, returnTo: string): Promise<StartedLogin>
  /** @throws PARAPET_SESSIONS_NOT_FOUND there is no provider of this name. */
  requireProvider(provider: string): void
  /** @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE */
  finish(
    provider: string,
    query: URLSearchParams,
    cookie: string | undefined,
  ): Promise<FinishedLogin>
}

/** Creates the logins. A provider is discovered on first use, and again to finish each login. */
export function createSingleSignOn(settings: SingleSignOnSettings): SingleSignOn {
  const { providers, store, secrets, now } = settings
  const tickets = createTickets(secrets, now)
  const discovered = new Map<string, Promise<Configuration>>()

  function providerOf(name: string): ProviderSettings {
    // Own members only: `__proto__` is not a provider.
    if (!Object.hasOwn(providers, name)) throw new PARAPET_SESSIONS_NOT_FOUND()
    return providers[name]!
  }

  function discover(name: string): Promise<Configuration> {
    const found = discoverProvider(providerOf(name))
    discovered.set(name, found)
    found.catch(() => discovered.delete(name))
    return found
  }

  return {
    requireProvider: (name) => void providerOf(name),
    async start(name, returnTo) {
      const provider = providerOf(name)
      const configuration = await (discovered.get(name) ?? discover(name))
      const ticket = tickets.create(name, isLocalPath(returnTo) ? returnTo : '/')
      const { state, nonce, verifier } = ticket
      const client = await loadClient()
      const url = client.buildAuthorizationUrl(configuration, {
        redirect_uri: provider.redirectUri,
        scope: (provider.scopes ?? ['openid', 'profile', 'email']).join(' '),
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        state,
        nonce,
      })
      return { url: url.href, state, cookie: ticket.cookie }
    },
    async finish(name, query, cookie) {
      const provider = providerOf(name)
      const ticket = tickets.open(cookie)
      if (ticket === null || ticket.provider !== name || query.get('state') !== ticket.state) {
        throw new PARAPET_SESSIONS_SSO_REFUSED()
      }
      const isFirst = await store.setIfAbsent(`sessions:oidc:${ticket.id}`, '1', LOGIN_LIFETIME_MS)
      if (!isFirst) throw new PARAPET_SESSIONS_SSO_REFUSED()
      // Discovered again for each login, because the library caches a provider's keys for minutes:
      // new keys are accepted and withdrawn keys refused from one login to the next.
      const claims = await exchangeCode(await discover(name), provider, query, ticket)
      const user = await userOf(name, provider, claims)
      if (user === null) throw new PARAPET_SESSIONS_SSO_REFUSED()
      const proof = proofOf(claims, provider)
      const isMultiFactor = proof.amr.includes('mfa')
      return { user, proof, isMultiFactor, returnTo: ticket.returnTo }
    },
  }
}
