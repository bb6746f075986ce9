/** The providers by name, and what each says about itself. */
import type * as client from 'openid-client'
import type { ClientAuth, Configuration } from 'openid-client'
import { PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { authenticateByKey, readClientKey, type ClientKey } from './client-key.ts'
import { allowInsecureProvider, type ProviderSettings } from './provider.ts'

/** See {@link createDiscovery}. */
export interface Discovery {
  /** @throws PARAPET_SESSIONS_NOT_FOUND there is no provider of this name. */
  providerOf(name: string): ProviderSettings
  /** Reads the metadata now. @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_UNAVAILABLE */
  discover(name: string): Promise<Configuration>
  /** Metadata of the last ten minutes. @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_UNAVAILABLE */
  configurationOf(name: string): Promise<Configuration>
}

/** What {@link createDiscovery} needs. */
export interface DiscoverySettings {
  readonly providers: Readonly<Record<string, ProviderSettings>>
  /** @see requireStrongKey */
  readonly acceptRsa2048: boolean
  readonly now: () => number
}

/** Metadata of a provider, and since when they are known. */
interface Discovered {
  readonly configuration: Promise<Configuration>
  readonly at: number
}

/** A provider may move its endpoints: with old metadata no login would finish, and none would load new ones. */
const METADATA_MS = 600_000

/** Creates the discovery. A failure is not cached. @throws PARAPET_SESSIONS_INVALID_KEY */
export function createDiscovery(settings: DiscoverySettings): Discovery {
  const { providers, now } = settings
  const keys = clientKeysOf(settings)
  const discovered = new Map<string, Discovered>()

  const discovery: Discovery = {
    providerOf(name) {
      // Own members only: `__proto__` is not a provider.
      if (!Object.hasOwn(providers, name)) throw new PARAPET_SESSIONS_NOT_FOUND()
      return providers[name]!
    },
    discover(name) {
      const configuration = discoverProvider(discovery.providerOf(name), keys.get(name))
      const found = { configuration, at: now() }
      discovered.set(name, found)
      configuration.catch(() => {
        if (discovered.get(name) === found) discovered.delete(name)
      })
      return configuration
    },
    configurationOf(name) {
      const known = discovered.get(name)
      const isFresh = known !== undefined && known.at + METADATA_MS > now()
      return isFresh ? known.configuration : discovery.discover(name)
    },
  }
  return discovery
}

function clientKeysOf({
  providers,
  acceptRsa2048,
}: DiscoverySettings): ReadonlyMap<string, ClientKey> {
  const keys = new Map<string, ClientKey>()
  for (const [name, { privateKeyJwt }] of Object.entries(providers)) {
    if (privateKeyJwt === undefined) continue
    keys.set(name, readClientKey(privateKeyJwt, `oidc.${name}.privateKeyJwt`, acceptRsa2048))
  }
  return keys
}

const TIMEOUT_SECONDS = 5

type Client = typeof client

/** The library. It is loaded with the first login, because most services have no provider. */
export function loadClient(): Promise<Client> {
  return import('openid-client')
}

/** Reads the provider's metadata. @throws PARAPET_SESSIONS_UNAVAILABLE it does not answer, or lies. */
async function discoverProvider(
  provider: ProviderSettings,
  key: ClientKey | undefined,
): Promise<Configuration> {
  const client = await loadClient()
  const { issuer, clientId, clientSecret = '' } = provider
  try {
    return await client.discovery(
      new URL(issuer),
      clientId,
      undefined,
      key === undefined
        ? authenticateBySecret(client, clientSecret)
        : await authenticateByKey(client, key),
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
function authenticateBySecret(client: Client, clientSecret: string): ClientAuth {
  const inBody = client.ClientSecretPost(clientSecret)
  const inHeader = client.ClientSecretBasic(clientSecret)
  return (server, ...request) => {
    // The default of OpenID Connect Discovery 1.0, section 3.
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
    return (methods.includes('client_secret_post') ? inBody : inHeader)(server, ...request)
  }
}
