/** Client addresses: one key per client, however its address is written. */
import { PARAPET_KIT_INVALID_ARGUMENT } from '../errors.ts'

/** 16 bytes; an IPv4 address in its v4-mapped form. */
type AddressBytes = Uint8Array

const MAPPED_PREFIX_BITS = 96
const CLIENT_PREFIX_BITS = 64

/** No leading zero: some parsers read it as octal and get another address. */
const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const V4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`)

/**
 * The 16 bytes of an IPv4 or IPv6 address, or `null` when the text is neither. `::ffff:192.0.2.1`
 * and `192.0.2.1` give the same bytes; a zone (`%eth0`) is dropped.
 *
 * @see RFC 4291, section 2.2; RFC 6874
 */
export function parseAddress(text: string): Uint8Array | null {
  if (!text.includes(':')) return parseV4(text)
  return parseV6(text.replace(/%[0-9A-Za-z.:-]+$/, ''))
}

function parseV4(text: string): AddressBytes | null {
  if (!V4.test(text)) return null
  const bytes = new Uint8Array(16)
  bytes.set([0xff, 0xff, ...text.split('.').map(Number)], 10)
  return bytes
}

function parseV6(text: string): AddressBytes | null {
  const halves = text.split('::')
  if (halves.length > 2) return null
  const head = groupsOf(halves[0]!)
  const tail = halves.length === 2 ? groupsOf(halves[1]!) : []
  if (head === null || tail === null) return null
  const missing = 16 - head.length - tail.length
  if (halves.length === 2 ? missing < 2 : missing !== 0) return null
  return Uint8Array.from([...head, ...Array.from({ length: missing }, () => 0), ...tail])
}

/** The bytes of groups between colons; the last one may be a dotted IPv4 address. */
function groupsOf(text: string): number[] | null {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [index, group] of groups.entries()) {
    if (group.includes('.') && index === groups.length - 1) {
      const v4 = parseV4(group)
      if (v4 === null) return null
      bytes.push(...v4.subarray(12))
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return null
      const value = Number.parseInt(group, 16)
      bytes.push(value >>> 8, value & 0xff)
    }
  }
  return bytes
}

/**
 * Like {@link parseAddress}, for the address of a client as a proxy may write it: a port is dropped
 * (`192.0.2.1:443`, `[2001:db8::1]:443`), and an IPv4 address in a translated form (NAT64, IPv4-compatible)
 * gives the bytes of the IPv4 address. The peer of a UNIX socket has none: `undefined`.
 *
 * @see RFC 6052, section 2.1; RFC 4291, section 2.5.5.1
 */
export function parseClientAddress(text: string | undefined): Uint8Array | null {
  if (text === undefined) return null
  const bytes = parseAddress(withoutPort(text))
  return bytes !== null && isTranslated(bytes) ? untranslated(bytes) : bytes
}

function withoutPort(text: string): string {
  return /^\[(.*)\](?::\d{1,5})?$/.exec(text)?.[1] ?? text.replace(V4_PORT, '$1')
}

const V4_PORT = /^([\d.]+):\d{1,5}$/

/** `64:ff9b::/96`, or `::/96` without `::` and `::1`. */
function isTranslated(bytes: AddressBytes): boolean {
  const prefix = bytes.subarray(0, 12)
  if (NAT64.every((byte, index) => byte === prefix[index])) return true
  return prefix.every((byte) => byte === 0) && bytes.subarray(12, 15).some((byte) => byte !== 0)
}

const NAT64 = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]

function untranslated(bytes: AddressBytes): AddressBytes {
  const mapped = new Uint8Array(16)
  mapped.set([0xff, 0xff], 10)
  mapped.set(bytes.subarray(12), 12)
  return mapped
}

function isMapped(bytes: AddressBytes): boolean {
  return bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((b) => b === 0)
}

/**
 * The key of a client for counting and blocking: an IPv4 address unchanged, an IPv6 address as its
 * /64 (`2001:db8:0:1::/64`), because one client owns all of it; a v4-mapped or NAT64 address as IPv4,
 * all without a port. All that is no address (`undefined`, the peer of a UNIX socket) shares one key.
 */
export function clientKey(address: string | undefined): string {
  if (address !== undefined && V4.test(address)) return address
  const bytes = parseClientAddress(address)
  if (bytes === null) return 'unknown'
  if (isMapped(bytes)) return bytes.subarray(12).join('.')
  const groups: string[] = []
  for (let index = 0; index < CLIENT_PREFIX_BITS / 8; index += 2) {
    groups.push(((bytes[index]! << 8) | bytes[index + 1]!).toString(16))
  }
  return `${groups.join(':')}::/${CLIENT_PREFIX_BITS}`
}

/**
 * Compiles addresses and CIDR blocks to a membership test. An IPv4 block contains its addresses in
 * v4-mapped and NAT64 form, too, and with a port; what {@link parseClientAddress} cannot parse is in no
 * block.
 *
 * @param blocks `192.0.2.0/24`, `2001:db8::/32`, or single addresses.
 * @throws PARAPET_KIT_INVALID_ARGUMENT a block is malformed, or has bits set after its prefix.
 * @see RFC 4632, section 3.1
 */
export function createCidrMatcher(
  blocks: readonly string[],
): (address: string | undefined) => boolean {
  const compiled = blocks.map(parseBlock)
  return (address) => {
    if (address === undefined) return false
    const bytes = parseAddress(withoutPort(address))
    if (bytes === null) return false
    const v4 = isTranslated(bytes) ? untranslated(bytes) : bytes
    return compiled.some((block) => contains(block, bytes) || contains(block, v4))
  }
}

interface Block {
  readonly bytes: AddressBytes
  readonly prefixBits: number
}

function parseBlock(text: string): Block {
  const slash = text.indexOf('/')
  const address = slash === -1 ? text : text.slice(0, slash)
  const bytes = text.includes('%') ? null : parseAddress(address)
  if (bytes === null) refuse(text, 'is not an address or a CIDR block')
  const offset = address.includes(':') ? 0 : MAPPED_PREFIX_BITS
  const length = slash === -1 ? String(128 - offset) : text.slice(slash + 1)
  const prefixBits = Number(length) + offset
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || prefixBits > 128)
    refuse(text, 'has an invalid prefix length')
  const block = { bytes, prefixBits }
  if (!contains({ bytes: masked(block), prefixBits: 128 }, bytes)) {
    refuse(text, 'has bits set after its prefix; write the first address of the block')
  }
  return block
}

function masked({ bytes, prefixBits }: Block): AddressBytes {
  return bytes.map((byte, index) => byte & maskOf(prefixBits - 8 * index))
}

function contains({ bytes, prefixBits }: Block, address: AddressBytes): boolean {
  for (let index = 0; 8 * index < prefixBits; index++) {
    if (((bytes[index]! ^ address[index]!) & maskOf(prefixBits - 8 * index)) !== 0) return false
  }
  return true
}

/** The mask of the first `bits` bits of a byte. */
function maskOf(bits: number): number {
  return bits >= 8 ? 0xff : bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff
}

function refuse(block: string, problem: string): never {
  throw new PARAPET_KIT_INVALID_ARGUMENT(`"${block}"`, problem)
}
