/** Decides by scheme, host name and port whether a URL may be requested, before the name is resolved. */
import { isListedHost } from '../types/url.ts'
import { isAddress, isPublicAddress } from './address-rules.ts'

/** What a URL may be. */
export interface HostRules {
  readonly schemes: readonly string[]
  readonly ports: readonly number[]
  readonly allowHosts: readonly string[] | undefined
}

/** Why a URL is refused. */
export type ForbiddenReason = 'scheme' | 'credentials' | 'port' | 'host' | 'address'

/** Names that are never public. @see RFC 6761, RFC 6762, RFC 8375 */
const LOCAL_NAMES =
  /(?:^|\.)(?:localhost|local|localdomain|internal|intranet|lan|corp|home|home\.arpa|test|invalid|onion)$/

/** The host without brackets and without the dot at its end. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
}

function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port)
  return protocol === 'https:' ? 443 : 80
}

/** @returns why a URL is refused, or `undefined` */
export function findForbidden(url: URL, rules: HostRules): ForbiddenReason | undefined {
  if (!rules.schemes.includes(url.protocol.slice(0, -1))) return 'scheme'
  if (url.username !== '' || url.password !== '') return 'credentials'
  if (!rules.ports.includes(portOf(url))) return 'port'
  const host = hostOf(url)
  if (rules.allowHosts !== undefined && !isListedHost(host, rules.allowHosts)) return 'host'
  if (isAddress(host)) return isPublicAddress(host) ? undefined : 'address'
  // A name without a dot is one of the local network.
  return !host.includes('.') || LOCAL_NAMES.test(host) ? 'host' : undefined
}
