/**
 * Which addresses the service may call: global unicast only, so that the URL of a webhook does not reach the services
 * of its own network. @see IANA IPv4 and IPv6 Special-Purpose Address Registries; OWASP SSRF Prevention
 */
import { createCidrMatcher, parseAddress } from '@parapet/kit'

/** As the option `target` of a notifier: its address may be a private one. An attacker who can set the URL then reaches
 * every service of the network. */
export const allowPrivateTarget: unique symbol = Symbol('allowPrivateTarget')

const isSpecial = createCidrMatcher([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
])
/** Global unicast of IPv6, without the blocks in it that are no hosts of their own. */
const isGlobalV6 = createCidrMatcher(['2000::/3'])
const isSpecialV6 = createCidrMatcher(['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'])

/** Whether an address may be called. A text that is no address may not. */
export function isPublicTarget(address: string): boolean {
  if (parseAddress(address) === null || address.includes('%')) return false
  const isV4 = /^(?:::ffff:)?\d+\.\d+\.\d+\.\d+$/i.test(address)
  if (isV4) return !isSpecial(address)
  return isGlobalV6(address) && !isSpecialV6(address)
}

const LOCAL_NAME =
  /(?:^|\.)(?:localhost|local|localdomain|internal|intranet|lan|corp|home|home\.arpa|test|invalid|onion)\.?$/i

/** @returns why a URL may not be called, before its name is resolved; `undefined`: it may. */
export function refuseTarget(text: string, allowPrivate: boolean): string | undefined {
  if (!URL.canParse(text)) return 'is no URL'
  const { protocol, username, password, hostname, hash } = new URL(text)
  if (protocol !== 'https:' && !(allowPrivate && protocol === 'http:'))
    return 'must begin with https:'
  if (username !== '' || password !== '') return 'must not contain a user name or password'
  if (hash !== '') return 'must not have a fragment'
  if (allowPrivate) return undefined
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  if (parseAddress(host) !== null)
    return isPublicTarget(host) ? undefined : 'must be a public address'
  return !host.includes('.') || LOCAL_NAME.test(host) ? 'must be a public host name' : undefined
}
