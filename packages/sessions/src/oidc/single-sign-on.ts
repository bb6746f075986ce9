/**
 * Visits of browsers to an OpenID provider: authorization code flow with PKCE, state and nonce.
 *
 * @see OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9700, section 2.1
 */
import type { Clock, Store } from '@parapet/kit'
import { PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { createLogoutReader, type LogoutReader } from './logout-reader.ts'
import { createLogoutRequests, type LogoutRequests } from './logout-request.ts'
import type { SessionUser } from '../users/user.ts'
import { requestParameters, settingsFor } from './authorization-request.ts'
import { createDiscovery, loadClient, type DiscoverySettings } from './discovery.ts'
import { exchangeCode, type ProviderClaims } from './exchange-code.ts'
import { originOf, proofOf, trustedMethodsOf, userOf, type FinishedVisit } from './id-token.ts'
import { isLocalPath } from './local-path.ts'
import {
  createTickets,
  LOGIN_LIFETIME_MS,
  type LoginTicket,
  type TicketContent,
} from './login-ticket.ts'
import type { ProviderSettings, ResponseMode } from './provider.ts'

/** What the browser needs to go to the provider. */
export interface StartedLogin {
  readonly url: string
  /** The end of the name of the cookie: the state that the callback will have. */
  readonly state: string
  /** The value of the cookie that the browser sends with the callback. */
  readonly cookie: string
  readonly responseMode: ResponseMode
}

/** What the browser brings back from the provider. */
export interface ProviderCallback {
  readonly provider: string
  /** How it came. */
  readonly responseMode: ResponseMode
  /** The parameters exactly as they were sent. */
  readonly response: URLSearchParams
  /** The cookie that {@link SingleSignOn.start} returned. */
  readonly cookie: string | undefined
}

/** What {@link createSingleSignOn} needs. */
export interface SingleSignOnSettings extends DiscoverySettings {
  readonly store: Store
  readonly clock: Clock
  /** The first protects new logins; all of them verify logins that have begun. */
  readonly secrets: readonly string[]
  /** How long a session lives at most, in milliseconds. */
  readonly sessionMs: number
  /** The user to whom an identity is linked. `undefined`: to none. `null`: to one who is gone. */
  readonly findLinkedUser: (
    provider: string,
    subject: string,
  ) => Promise<SessionUser | null | undefined>
}

/** See {@link createSingleSignOn}. */
export interface SingleSignOn extends LogoutReader, Pick<LogoutRequests, 'logoutUrlOf' | 'pathOf'> {
  /**
   * @param visit `returnTo` is a path of this service; anything else is replaced by `/`.
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_UNAVAILABLE
   */
  start(provider: string, visit: TicketContent): Promise<StartedLogin>
  /** @throws PARAPET_SESSIONS_NOT_FOUND there is no provider of this name. */
  requireProvider(provider: string): void
  /** @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE */
  finish(callback: ProviderCallback): Promise<FinishedVisit>
}

/**
 * Creates the visits. A provider is discovered on first use, every ten minutes, and to finish each login.
 *
 * @throws PARAPET_SESSIONS_INVALID_KEY
 */
export function createSingleSignOn(settings: SingleSignOnSettings): SingleSignOn {
  const { store, secrets, now } = settings
  const discovery = createDiscovery(settings)
  const tickets = createTickets(secrets, now)
  const requests = createLogoutRequests({ ...settings, discovery })
  const describe = createDescription(settings, requests)

  async function requireTicket(callback: ProviderCallback): Promise<LoginTicket> {
    const { provider: name, responseMode, response, cookie } = callback
    const provider = discovery.providerOf(name)
    const ticket = tickets.open(cookie)
    if (ticket === null || ticket.provider !== name || response.get('state') !== ticket.state) {
      throw new PARAPET_SESSIONS_SSO_REFUSED()
    }
    // A code in a URL, where it must not be.
    if (provider.responseMode !== responseMode) throw new PARAPET_SESSIONS_SSO_REFUSED()
    const isFirst = await store.setIfAbsent(`sessions:oidc:${ticket.id}`, '1', LOGIN_LIFETIME_MS)
    if (!isFirst) throw new PARAPET_SESSIONS_SSO_REFUSED()
    return ticket
  }

  return {
    ...createLogoutReader({ store, now, discovery }),
    logoutUrlOf: (origin, returnTo) => requests.logoutUrlOf(origin, returnTo),
    pathOf: (state) => requests.pathOf(state),
    requireProvider: (name) => void discovery.providerOf(name),
    async start(name, { returnTo, purpose, sessionId }) {
      const provider = settingsFor(discovery.providerOf(name), purpose)
      const configuration = await discovery.configurationOf(name)
      const path = isLocalPath(returnTo) ? returnTo : '/'
      const ticket = tickets.create(name, { returnTo: path, purpose, sessionId })
      const { state, cookie } = ticket
      const client = await loadClient()
      const parameters = await requestParameters(client, provider, ticket)
      try {
        const url = provider.pushRequests
          ? await client.buildAuthorizationUrlWithPAR(configuration, parameters)
          : client.buildAuthorizationUrl(configuration, parameters)
        return { url: url.href, state, cookie, responseMode: provider.responseMode }
      } catch (error) {
        // The metadata name no endpoint, or one that is no HTTPS URL, or it does not take the request.
        throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
      }
    },
    async finish(callback) {
      const ticket = await requireTicket(callback)
      const { provider: name, response } = callback
      const provider = settingsFor(discovery.providerOf(name), ticket.purpose)
      // Discovered again for each login, because the library caches a provider's keys for minutes:
      // new keys are accepted and withdrawn keys refused from one login to the next.
      const configuration = await discovery.discover(name)
      const said = await exchangeCode(configuration, provider, response, ticket, now())
      return describe(ticket, provider, said)
    },
  }
}

/** Creates what says who came back, with what. */
function createDescription(
  { findLinkedUser, clock }: SingleSignOnSettings,
  requests: LogoutRequests,
): (
  ticket: LoginTicket,
  provider: ProviderSettings,
  said: ProviderClaims,
) => Promise<FinishedVisit> {
  return async (ticket, provider, { claims, profile, idToken }) => {
    const { provider: name, purpose, returnTo, sessionId, startedAt } = ticket
    const origin = originOf(name, claims)
    const proof = proofOf(claims, provider, startedAt)
    if (purpose !== 'login') {
      await requests.keepIdToken(origin, idToken)
      const methods = trustedMethodsOf(claims, provider)
      const { authenticatedAt } = proof
      // A level that nobody asked for may be lower than that of the session.
      const acr = provider.acrValues === undefined ? undefined : proof.acr
      return { purpose, sessionId: sessionId!, origin, methods, acr, authenticatedAt, returnTo }
    }
    const linked = await findLinkedUser(name, claims.sub)
    const user = linked === undefined ? await userOf(name, provider, profile, clock) : linked
    if (user === null) throw new PARAPET_SESSIONS_SSO_REFUSED()
    await requests.keepIdToken(origin, idToken)
    const isMultiFactor = proof.amr.includes('mfa')
    const isLinked = linked !== undefined
    const login = { user, isLinked, proof, isMultiFactor, origin }
    return { purpose, ...login, returnTo, formerSessionId: sessionId }
  }
}
