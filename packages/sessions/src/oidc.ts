/**
 * Login by an OpenID provider: authorization code with PKCE, state and nonce. The three are derived
 * from one random value in the browser's cookie, so nothing waits in a store to be stolen.
 *
 * @see OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9700, section 2.1
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Store } from '@parapet/kit'
import * as client from 'openid-client'
import { isRandomId, randomId } from './access-tokens.ts'
import { PARAPET_SESSIONS_SSO_REFUSED, PARAPET_SESSIONS_UNAVAILABLE } from './errors.ts'
import { deriveKey } from './refresh-tokens.ts'
import { isName, isNameList, type LoginProof, type SessionUser } from './user.ts'

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
type ProviderSettings = Omit<OidcProviderOptions, typeof allowInsecureProvider> & {
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

/** How long a login at the provider may take, in milliseconds. */
export const OIDC_LIFETIME_MS = 600_000
const PROVIDER_TIMEOUT_SECONDS = 5
const MAX_RETURN_LENGTH = 1024
/** A path of this service: nothing that a browser may read as another host. */
const LOCAL_PATH = /^\/(?![/\\])[\w\-./~%!$&'()*+,;=:@?]*$/

/** Whether a browser may be sent there after the login. */
function isLocalPath(path: string): boolean {
  return path.length <= MAX_RETURN_LENGTH && LOCAL_PATH.test(path)
}

/** Makes the logins. A provider is discovered when it is first used, and again after a failure. */
export function createOidc({ providers, store, secrets, now }: OidcSettings): Oidc {
  const keys = secrets.map((secret) => deriveKey(secret, 'oidc login'))
  const tickets = createTickets(keys[0]!, now)
  const discovered = new Map<string, Promise<client.Configuration>>()

  function discover(name: string): Promise<client.Configuration> {
    let found = discovered.get(name)
    if (found === undefined) {
      found = discoverProvider(providers[name]!)
      discovered.set(name, found)
      found.catch(() => discovered.delete(name))
    }
    return found
  }

  return {
    async begin(name, returnTo) {
      const provider = providers[name]!
      const configuration = await discover(name)
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
      const claims = await exchange(await discover(name), provider, query, ticket)
      const user = await userOf(name, provider, claims)
      if (user === null) throw new PARAPET_SESSIONS_SSO_REFUSED()
      return { user, proof: proofOf(claims), returnTo: ticket.returnTo }
    },
  }
}

interface Ticket {
  readonly id: string
  readonly provider: string
  readonly returnTo: string
  readonly cookie: string
  readonly state: string
  readonly nonce: string
  readonly verifier: string
}

function createTickets(key: Buffer, now: () => number) {
  const derive = (purpose: string, text: string): string =>
    createHmac('sha256', key).update(`${purpose} ${text}`).digest('base64url')
  const read = (id: string, provider: string, until: number, returnTo: string): Ticket => {
    const body = [id, provider, until, Buffer.from(returnTo).toString('base64url')].join('.')
    return {
      id,
      provider,
      returnTo,
      cookie: `${body}.${derive('cookie', body)}`,
      state: derive('state', id),
      nonce: derive('nonce', id),
      verifier: derive('verifier', id),
    }
  }
  return {
    create: (provider: string, returnTo: string) =>
      read(randomId(), provider, now() + OIDC_LIFETIME_MS, returnTo),
    open(cookie: string | undefined): Ticket | null {
      const [id, provider, until, returnTo, tag] = (cookie ?? '').split('.')
      if (!isRandomId(id) || provider === undefined || returnTo === undefined || !tag) return null
      const path = Buffer.from(returnTo, 'base64url').toString()
      const ticket = read(id, provider, Number(until), path)
      const given = Buffer.from(cookie!)
      const expected = Buffer.from(ticket.cookie)
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null
      return Number(until) > now() ? ticket : null
    },
  }
}

async function discoverProvider(provider: ProviderSettings): Promise<client.Configuration> {
  const insecure = provider[allowInsecureProvider]
  try {
    return await client.discovery(
      new URL(provider.issuer),
      provider.clientId,
      provider.clientSecret,
      undefined,
      {
        timeout: PROVIDER_TIMEOUT_SECONDS,
        execute: [
          // The signature of the ID token too, not only the connection it came over.
          client.enableNonRepudiationChecks,
          // oxlint-disable-next-line typescript/no-deprecated -- deprecated as a warning, not to go
          ...(insecure ? [client.allowInsecureRequests] : []),
        ],
      },
    )
  } catch (error) {
    throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
  }
}

async function exchange(
  configuration: client.Configuration,
  { redirectUri }: ProviderSettings,
  query: URLSearchParams,
  { state, nonce, verifier }: Ticket,
): Promise<Readonly<Record<string, unknown>> & { sub: string }> {
  const callback = new URL(redirectUri)
  callback.search = query.toString()
  try {
    const tokens = await client.authorizationCodeGrant(configuration, callback, {
      pkceCodeVerifier: verifier,
      expectedState: state,
      expectedNonce: nonce,
      idTokenExpected: true,
    })
    return tokens.claims()!
  } catch (error) {
    // A provider that cannot be reached is no refusal of the user; everything else is.
    const unreachable = error instanceof TypeError || (error as Error).name === 'TimeoutError'
    const Refusal = unreachable ? PARAPET_SESSIONS_UNAVAILABLE : PARAPET_SESSIONS_SSO_REFUSED
    throw new Refusal({ cause: error })
  }
}

async function userOf(
  name: string,
  { roleClaim, roleMap = {}, findUser }: ProviderSettings,
  claims: Readonly<Record<string, unknown>> & { readonly sub: string },
): Promise<SessionUser | null> {
  const given = roleClaim === undefined ? [] : claims[roleClaim]
  const values: unknown[] = Array.isArray(given) ? given : [given]
  const roles = [...new Set(values.flatMap((value) => rolesFor(value, roleMap)))]
  if (findUser === undefined) return { id: `${name}:${claims.sub}`, roles }
  return findUser({ provider: name, subject: claims.sub, claims, roles })
}

function rolesFor(
  value: unknown,
  roleMap: Readonly<Record<string, readonly string[]>>,
): readonly string[] {
  // Own members only: a group called `constructor` has no roles.
  return isName(value) && Object.hasOwn(roleMap, value) ? roleMap[value]! : []
}

/** How and when, in the provider's own words; it speaks for what it did, not for what we asked. */
function proofOf(claims: Readonly<Record<string, unknown>>): LoginProof {
  const { amr, auth_time: authTime } = claims
  return {
    amr: isNameList(amr) && amr.length > 0 ? amr : ['oidc'],
    ...(Number.isSafeInteger(authTime) && (authTime as number) >= 0
      ? { authenticatedAt: (authTime as number) * 1000 }
      : undefined),
  }
}
