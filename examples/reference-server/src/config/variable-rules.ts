/** What one variable, or several together, must be, beyond the form of each. */
import { isIP } from 'node:net'
import type { EnvironmentRule } from '@parapet/secrets'

/**
 * Accepts networks up to the size of a /8. If every peer were trusted, a client could choose the
 * address that it is rate-limited and logged by. A number of hops is refused for the same reason: it
 * trusts any peer that connects directly.
 */
export const narrowProxies: EnvironmentRule = {
  description: 'No network of TRUST_PROXY is wider than a /8',
  check({ TRUST_PROXY: networks }) {
    if ((networks as readonly string[] | undefined)?.every(isNetwork) ?? true) return {}
    return {
      TRUST_PROXY:
        'must be addresses or networks such as "10.0.0.0/8, fd00::/8", none wider than /8',
    }
  },
}

/** A pattern cannot tell whether a URL is one. */
export const realOrigin: EnvironmentRule = {
  description: 'PUBLIC_URL is an origin',
  check: ({ PUBLIC_URL: url }) =>
    URL.canParse(url as string) ? {} : { PUBLIC_URL: 'must be an origin without a path' },
}

function isNetwork(text: string): boolean {
  const [, address = '', bits = '32'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits) >= 8 && Number(bits) <= (family === 4 ? 32 : 128)
}
