/** OpenID providers: their options, and the discovery of their metadata and keys. */
import type * as client from 'openid-client'
import type { ClientAuth, Configuration } from 'openid-client'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { SessionUser } from '../users/user.ts'

/** Allows a provider over plain HTTP. What is lost: anybody on the network can read the client secret. */
export const allowInsecureProvider: unique symbol = Symbol('allowInsecureProvider')

/** A user as a provider describes them. The signature of the ID token is verified. */
export interface ProviderProfile {
  /** The name of the provider in the option `oidc`. */
  readonly provider: string
  readonly subject: string
  /** The claims of the ID token. An `email` is proven only if `email_verified` is true. */
  readonly claims: Readonly<Record<string, unknown>>
  /** The roles from `roleClaim` and `roleMap`. */
  readonly roles: readonly string[]
}

/** The methods for each value of the claims `amr` and `acr`; other values are ignored. */
interface TrustedMethods {
  readonly amr?: Readonly<Record<string, readonly string[]>>
  readonly acr?: Readonly<Record<string, readonly string[]>>
}

/** One OpenID provider. */
export interface OidcProviderOptions {
  /** The issuer URL; its metadata are read from `/.well-known/openid-configuration`. */
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** The public URL of the callback route of this service, as registered with the provider. */
  readonly redirectUri: string
  /** @default ['openid', 'profile', 'email'] */
  readonly scopes?: readonly string[] | undefined
  /** The claim that lists groups or roles. @default none: users get no role */
  readonly roleClaim?: string | undefined
  /** The roles for each value of that claim; a value that is not listed gives none. @default {} */
  readonly roleMap?: Readonly<Record<string, readonly string[]>> | undefined
  /**
   * Which of the provider's methods and levels this service trusts, as methods of RFC 8176:
   * `{ amr: { mfa: ['mfa'] }, acr: { phr: ['hwk', 'mfa'] } }`. A login that is mapped to `mfa` needs no
   * second step. @default none: the method is `oidc`
   */
  readonly trustedMethods?: TrustedMethods | undefined
  /**
   * Maps the profile to a user; `null` or `undefined` refuses the login.
   * @default `<provider>:<subject>` and the roles
   */
  readonly findUser?:
    | ((profile: ProviderProfile) => Promise<SessionUser | null | undefined>)
    | undefined
  readonly [allowInsecureProvider]?: true
}

/** The options of a provider with the defaults filled in. */
export type ProviderSettings = Omit<OidcProviderOptions, typeof allowInsecureProvider> & {
  readonly [allowInsecureProvider]: boolean
}

const TIMEOUT_SECONDS = 5

type Client = typeof client

/** The library. It is loaded with the first login, because most services have no provider. */
export function loadClient(): Promise<Client> {
  return import('openid-client')
}

/** Reads the provider's metadata. @throws PARAPET_SESSIONS_UNAVAILABLE it does not answer, or lies. */
export async function discoverProvider(provider: ProviderSettings): Promise<Configuration> {
  const client = await loadClient()
  const { issuer, clientId, clientSecret } = provider
  try {
    return await client.discovery(
      new URL(issuer),
      clientId,
      undefined,
      authenticateClient(client, clientSecret),
      {
        timeout: TIMEOUT_SECONDS,
        execute: [
          // Verifies the signature of the ID token, not only the TLS connection it came over.
          client.enableNonRepudiationChecks,
          // oxlint-disable-next-line typescript/no-deprecated -- marked deprecated as a warning only
          ...(provider[allowInsecureProvider] ? [client.allowInsecureRequests] : []),
        ],
      },
    )
  } catch (error) {
    throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
  }
}

/** Sends the client secret in the body if the provider supports that, otherwise in the header. */
function authenticateClient(client: Client, clientSecret: string): ClientAuth {
  const inBody = client.ClientSecretPost(clientSecret)
  const inHeader = client.ClientSecretBasic(clientSecret)
  return (server, ...request) => {
    // The default of OpenID Connect Discovery 1.0, section 3.
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
    return (methods.includes('client_secret_post') ? inBody : inHeader)(server, ...request)
  }
}
