/**
 * Decides which addresses a service may connect to: global unicast only. Addresses that carry an IPv4 address
 * are decided by that address. @see IANA IPv4 and IPv6 Special-Purpose Address Registries
 */
import ipaddr from 'ipaddr.js'

/** Public addresses that a cloud answers inside its network. */
const PLATFORM = new Set(['168.63.129.16'])

type V6 = ReturnType<typeof ipaddr.IPv6.parse>
type V4 = ReturnType<typeof ipaddr.IPv4.parse>

/** Prefixes whose last four bytes are an IPv4 address. @see RFC 4291, section 2.5.5; RFC 6052, section 2.1 */
const CARRIERS = [
  [ipaddr.IPv6.parse('::'), 96],
  [ipaddr.IPv6.parse('::ffff:0:0'), 96],
  [ipaddr.IPv6.parse('::ffff:0:0:0'), 96],
  [ipaddr.IPv6.parse('64:ff9b::'), 96],
] as const
const SIX_TO_FOUR = ipaddr.IPv6.parse('2002::')
const GLOBAL_UNICAST = ipaddr.IPv6.parse('2000::')

/** Whether a text is an address as sockets use it: no octal, hexadecimal or short forms. */
export function isAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text)
}

/** Whether a service may connect to an address. A text that is no address may not be connected to. */
export function isPublicAddress(text: string): boolean {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return isPublicV4(ipaddr.IPv4.parse(text))
  // A zone names an interface of this machine.
  if (text.includes('%') || !ipaddr.IPv6.isValid(text)) return false
  return isPublicV6(ipaddr.IPv6.parse(text))
}

function isPublicV4(address: V4): boolean {
  return address.range() === 'unicast' && !PLATFORM.has(address.toString())
}

function isPublicV6(address: V6): boolean {
  const bytes = address.toByteArray()
  if (CARRIERS.some(([prefix, bits]) => address.match(prefix, bits))) {
    return isPublicV4(new ipaddr.IPv4(bytes.slice(12)))
  }
  // ISATAP: `::5efe:a.b.c.d` or `::200:5efe:a.b.c.d` as the interface of any network. @see RFC 5214, section 6.1
  const isIsatap =
    (bytes[8]! & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe
  if (isIsatap && !isPublicV4(new ipaddr.IPv4(bytes.slice(12)))) return false
  if (address.match(SIX_TO_FOUR, 16)) return isPublicV4(new ipaddr.IPv4(bytes.slice(2, 6)))
  return address.match(GLOBAL_UNICAST, 3) && address.range() === 'unicast'
}
