/** Accepts each logout token of a provider once. */
import { createHash } from 'node:crypto'
import type { Store } from '@parapet/kit'
import type { JWTVerifyGetKey } from 'jose'
import type { Configuration } from 'openid-client'
import { PARAPET_SESSIONS_LOGOUT_REFUSED } from '../errors.ts'
import type { Discovery } from './discovery.ts'
import {
  loadLogoutKeys,
  looksLikeJwt,
  MAX_AGE_SECONDS,
  verifyLogoutToken,
  type LogoutToken,
} from './logout-token.ts'

/** See {@link createLogoutReader}. */
export interface LogoutReader {
  /**
   * Verifies the logout token of a provider. It is used up when its work is done, by
   * {@link LogoutReader.useLogout}: a kill in between leaves it to the next try of the provider.
   *
   * @throws PARAPET_SESSIONS_NOT_FOUND, PARAPET_SESSIONS_LOGOUT_REFUSED, PARAPET_SESSIONS_UNAVAILABLE
   */
  readLogout(provider: string, token: string | null): Promise<LogoutToken>
  /** @returns whether it is the first use. */
  useLogout(token: LogoutToken): Promise<boolean>
}

/** What {@link createLogoutReader} needs. */
interface LogoutReaderSettings {
  readonly store: Store
  readonly now: () => number
  readonly discovery: Discovery
}

/** The keys of a provider, and where they are. */
interface ProviderKeys {
  readonly uri: string | undefined
  readonly keys: Promise<JWTVerifyGetKey>
}

/** Longer than a token is accepted. */
const USED_MS = 2 * MAX_AGE_SECONDS * 1000

/** Creates the reader. The keys of a provider are loaded with its first logout. */
export function createLogoutReader(settings: LogoutReaderSettings): LogoutReader {
  const { store, now, discovery } = settings
  const keysOf = new Map<string, ProviderKeys>()

  function loadKeys(name: string, configuration: Configuration): Promise<JWTVerifyGetKey> {
    const { jwks_uri: uri } = configuration.serverMetadata()
    const known = keysOf.get(name)
    // A provider may move its keys.
    if (known !== undefined && known.uri === uri) return known.keys
    const keys = loadLogoutKeys(discovery.providerOf(name), configuration)
    keysOf.set(name, { uri, keys })
    keys.catch(() => keysOf.delete(name))
    return keys
  }

  return {
    async readLogout(name, token) {
      const provider = discovery.providerOf(name)
      if (!looksLikeJwt(token)) throw new PARAPET_SESSIONS_LOGOUT_REFUSED()
      const configuration = await discovery.configurationOf(name)
      const { issuer } = configuration.serverMetadata()
      const keys = await loadKeys(name, configuration)
      const logout = await verifyLogoutToken(name, provider, issuer, keys, token, now())
      if ((await store.get(usedKey(logout))) === null) return logout
      throw new PARAPET_SESSIONS_LOGOUT_REFUSED()
    },
    useLogout: (logout) => store.setIfAbsent(usedKey(logout), '1', USED_MS),
  }
}

function usedKey({ provider, tokenId }: LogoutToken): string {
  const hash = createHash('sha256').update(`${provider} ${tokenId}`).digest('base64url')
  return `sessions:oidc:logout:${hash}`
}
