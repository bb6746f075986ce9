/** Client addresses, as proxies write them and as conditions read them. */
import { createCidrMatcher, parseClientAddress } from '@parapet/kit'
import { SocketAddress } from 'node:net'
import type { Truth } from './nodes.ts'

const MAPPED_PREFIX = '0000:0000:0000:0000:0000:ffff'

/**
 * Reads an address, also with a port, as some gateways write it into `X-Forwarded-For`.
 *
 * @returns the canonical form, with a v4-mapped or NAT64 address as IPv4; `undefined` if it is no address.
 * @see RFC 5952
 */
export function readAddress(value: unknown): string | undefined {
  const bytes = typeof value === 'string' ? parseClientAddress(value) : null
  if (bytes === null) return undefined
  const groups = Buffer.from(bytes)
    .toString('hex')
    .replaceAll(/(....)(?!$)/g, '$1:')
  if (groups.startsWith(MAPPED_PREFIX)) return bytes.subarray(12).join('.')
  return new SocketAddress({ address: groups, family: 'ipv6' }).address
}

/**
 * Compiles CIDR blocks to a test. Text that is no address is unknown: it is neither inside nor outside.
 *
 * @throws PARAPET_KIT_INVALID_ARGUMENT if a block is malformed.
 */
export function createAddressTest(blocks: readonly string[]): (value: unknown) => Truth {
  const contains = createCidrMatcher(blocks)
  return (value) => {
    const address = readAddress(value)
    return address === undefined ? null : contains(address)
  }
}
