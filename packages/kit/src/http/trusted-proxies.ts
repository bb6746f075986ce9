/** Whether a server believes every client that names another address. */
import { randomBytes } from 'node:crypto'
import { BlockList, isIP } from 'node:net'

/** So many, that half of all addresses is hardly taken for all. */
const SAMPLES = 64

type Trusts = (address: string, hop: number) => unknown

/**
 * Whether this `trustProxy` of Fastify is `true`, or a function or networks that trust any IPv4 or any global IPv6
 * address, so that clients can choose theirs. A number of hops is not, because Fastify believes nobody then.
 */
export function trustsEveryProxy(trustProxy: unknown): boolean {
  if (typeof trustProxy === 'boolean') return trustProxy
  const trusts = typeof trustProxy === 'function' ? (trustProxy as Trusts) : networksOf(trustProxy)
  if (trusts === undefined) return false
  const trustsAll = (sample: () => string): boolean =>
    Array.from({ length: SAMPLES }, sample).every((address) => isTrusted(trusts, address))
  return trustsAll(randomV4) || trustsAll(randomV6)
}

/** Fastify reads a text as a list with commas. Names, such as `loopback`, are no networks of everybody. */
function networksOf(trustProxy: unknown): Trusts | undefined {
  if (typeof trustProxy !== 'string' && !Array.isArray(trustProxy)) return undefined
  const entries = [trustProxy].flat().flatMap((each) => String(each).split(','))
  // Unlike `createCidrMatcher` it ignores bits after the prefix, as Fastify does.
  const networks = new BlockList()
  for (const entry of entries) {
    const [address = '', length] = entry.trim().split('/')
    if (length === undefined || isIP(address) === 0) continue
    // A mask, as 255.0.0.0, is a length as well.
    const bits = length.includes('.') ? ones(length) : Number(length)
    networks.addSubnet(address, bits, familyOf(address))
  }
  return (address) => networks.check(address, familyOf(address))
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6'
}

function ones(mask: string): number {
  return mask
    .split('.')
    .map((byte) => Number(byte).toString(2).replaceAll('0', '').length)
    .reduce((sum, each) => sum + each, 0)
}

function isTrusted(trusts: Trusts, address: string): boolean {
  try {
    return Boolean(trusts(address, 0))
  } catch {
    return false
  }
}

/** A unicast address. */
function randomV4(): string {
  const [first, ...rest] = randomBytes(4)
  return [1 + (first! % 223), ...rest].join('.')
}

/** One of 2000::/3. @see RFC 4291, section 2.4 */
function randomV6(): string {
  const bytes = randomBytes(16)
  bytes[0] = 0x20 | (bytes[0]! & 0x1f)
  return bytes.toString('hex').replaceAll(/(.{4})(?!$)/g, '$1:')
}
