/**
 * Login by an OpenID provider: authorization code with PKCE, state and nonce.
 *
 * @see OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9700, section 2.1
 */
import type { Store } from '@parapet/kit'
import * as client from 'openid-client'
import { PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE } from './errors.ts'
import { isForThisLogin, proofOf, userOf, type IdTokenClaims } from './oidc-claims.ts'
import { createTickets, OIDC_LIFETIME_MS, type Ticket } from './oidc-tickets.ts'
import type { LoginProof, SessionUser } from './user.ts'

/** Sends the client's secret over plain HTTP. Only for a provider on this very machine, in a test. */
export const allowInsecureProvider: unique symbol = Symbol('allowInsecureProvider')

/** What a provider said of a user, verified. */
export interface ProviderProfile {
  readonly provider: string
  readonly subject: string
  /** The claims of the ID token. Only `email` with `email_verified` proves an address. */
  readonly claims: Readonly<Record<string, unknown>>
  /** What the mapping made of the claims. */
  readonly roles: readonly string[]
}

/** One OpenID provider. */
export interface OidcProviderOptions {
  /** Its issuer, where `/.well-known/openid-configuration` is found. */
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** The callback route of this service as the browser reaches it, registered with the provider. */
  readonly redirectUri: string
  /** @default ['openid', 'profile', 'email'] */
  readonly scopes?: readonly string[] | undefined
  /** The claim that lists groups or roles. @default none: users get no role */
  readonly roleClaim?: string | undefined
  /** Roles by value of that claim; values that are not listed give none. @default {} */
  readonly roleMap?: Readonly<Record<string, readonly string[]>> | undefined
  /** Who the user is here; `null` refuses them. @default `<provider>:<subject>` with the mapped roles */
  readonly findUser?: ((profile: ProviderProfile) => Promise<SessionUser | null>) | undefined
  readonly [allowInsecureProvider]?: true
}

/** A provider's options as they were read. */
export type ProviderSettings = Omit<OidcProviderOptions, typeof allowInsecureProvider> & {
  readonly [allowInsecureProvider]: boolean
}

/** What the browser takes along to the provider. */
interface OidcStart {
  readonly url: string
  /** The value of the cookie that comes back with the callback. */
  readonly cookie: string
}

/** A login that succeeded. */
interface OidcLogin {
  readonly user: SessionUser
  readonly proof: LoginProof
  readonly returnTo: string
}

/** What {@link createOidc} needs. */
export interface OidcSettings {
  readonly providers: Readonly<Record<string, ProviderSettings>>
  readonly store: Store
  readonly secrets: readonly string[]
  readonly now: () => number
}

/** See {@link createOidc}. */
export interface Oidc {
  /** @param returnTo a path of this service. @throws PARAPET_SESSIONS_UNAVAILABLE */
  begin(provider: string, returnTo: string): Promise<OidcStart>
  /** @throws PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE */
  finish(provider: string, query: URLSearchParams, cookie: string | undefined): Promise<OidcLogin>
}

const PROVIDER_TIMEOUT_SECONDS = 5
const MAX_RETURN_LENGTH = 1024
/** A path of this service: nothing that a browser may read as another host. */
const LOCAL_PATH = /^\/(?![/\\])[\w\-./~%!$&'()*+,;=:@?]*$/

/** Whether a browser may be sent there after the login. */
function isLocalPath(path: string): boolean {
  return path.length <= MAX_RETURN_LENGTH && LOCAL_PATH.test(path)
}

/** Makes the logins. A provider is discovered when it is first used, and again by each login. */
export function createOidc({ providers, store, secrets, now }: OidcSettings): Oidc {
  const tickets = createTickets(secrets, now)
  const discovered = new Map<string, Promise<client.Configuration>>()

  function discover(name: string): Promise<client.Configuration> {
    const found = discoverProvider(providers[name]!)
    discovered.set(name, found)
    found.catch(() => discovered.delete(name))
    return found
  }

  return {
    async begin(name, returnTo) {
      const provider = providers[name]!
      const configuration = await (discovered.get(name) ?? discover(name))
      const ticket = tickets.create(name, isLocalPath(returnTo) ? returnTo : '/')
      const { state, nonce, verifier } = ticket
      const url = client.buildAuthorizationUrl(configuration, {
        redirect_uri: provider.redirectUri,
        scope: (provider.scopes ?? ['openid', 'profile', 'email']).join(' '),
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        state,
        nonce,
      })
      return { url: url.href, cookie: ticket.cookie }
    },
    async finish(name, query, cookie) {
      const provider = providers[name]!
      const ticket = tickets.open(cookie)
      if (ticket === null || ticket.provider !== name || query.get('state') !== ticket.state) {
        throw new PARAPET_SESSIONS_SSO_REFUSED()
      }
      const fresh = await store.setIfAbsent(`sessions:oidc:${ticket.id}`, '1', OIDC_LIFETIME_MS)
      if (!fresh) throw new PARAPET_SESSIONS_SSO_REFUSED()
      // Anew for each login, because the library keeps a provider's keys for minutes: a new one is
      // known, and one that was withdrawn is not believed, from one login to the next.
      const claims = await exchange(await discover(name), provider, query, ticket)
      const user = await userOf(name, provider, claims)
      if (user === null) throw new PARAPET_SESSIONS_SSO_REFUSED()
      return { user, proof: proofOf(claims), returnTo: ticket.returnTo }
    },
  }
}

async function discoverProvider(provider: ProviderSettings): Promise<client.Configuration> {
  const { issuer, clientId, clientSecret } = provider
  try {
    return await client.discovery(new URL(issuer), clientId, undefined, showSecret(clientSecret), {
      timeout: PROVIDER_TIMEOUT_SECONDS,
      execute: [
        // The signature of the ID token too, not only the connection it came over.
        client.enableNonRepudiationChecks,
        // oxlint-disable-next-line typescript/no-deprecated -- deprecated as a warning, not to go
        ...(provider[allowInsecureProvider] ? [client.allowInsecureRequests] : []),
      ],
    })
  } catch (error) {
    throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
  }
}

/** Shows the client's secret in the body where the provider says it takes that, else in the header. */
function showSecret(clientSecret: string): client.ClientAuth {
  const [inBody, inHeader] = [
    client.ClientSecretPost(clientSecret),
    client.ClientSecretBasic(clientSecret),
  ]
  return (server, ...request) => {
    // What is taken where nothing is said: OpenID Connect Discovery 1.0, section 3.
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
    return (methods.includes('client_secret_post') ? inBody : inHeader)(server, ...request)
  }
}

async function exchange(
  configuration: client.Configuration,
  { clientId, redirectUri }: ProviderSettings,
  query: URLSearchParams,
  { state, nonce, verifier }: Ticket,
): Promise<IdTokenClaims> {
  const callback = new URL(redirectUri)
  callback.search = query.toString()
  let tokens: Awaited<ReturnType<typeof client.authorizationCodeGrant>>
  try {
    tokens = await client.authorizationCodeGrant(configuration, callback, {
      pkceCodeVerifier: verifier,
      expectedState: state,
      expectedNonce: nonce,
      idTokenExpected: true,
    })
  } catch (error) {
    // A provider that cannot be reached is no refusal of the user; everything else is.
    const unreachable = error instanceof TypeError || (error as Error).name === 'TimeoutError'
    const Refusal = unreachable ? PARAPET_SESSIONS_UNAVAILABLE : PARAPET_SESSIONS_SSO_REFUSED
    throw new Refusal({ cause: error })
  }
  const claims = tokens.claims()!
  if (isForThisLogin(claims, tokens, clientId)) return claims
  throw new PARAPET_SESSIONS_SSO_REFUSED()
}
