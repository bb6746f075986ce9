/** Addresses as numbers: what the request path looks up. */
import { parseAddress, parseClientAddress } from '@parapet/kit'
import { PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT } from '../errors.ts'

/** The first 64 bits of an IPv6 address, or an IPv4 address in `low`. */
export interface AddressBits {
  isV4: boolean
  high: number
  low: number
}

/** A block of addresses; of IPv6, at most its first 64 bits are significant. */
export interface AddressBlock extends Readonly<AddressBits> {
  readonly prefixBits: number
  /** In canonical form. */
  readonly text: string
}

/** The longest prefix that is compared: one client owns an IPv6 /64. */
const LONGEST_V6 = 64

/**
 * Reads the address of a client into `bits`, without allocating for IPv4.
 *
 * @returns false where the text is no address, such as the peer of a UNIX socket.
 */
export function readAddress(text: string, bits: AddressBits): boolean {
  const v4 = readV4(text)
  if (v4 !== -1) {
    bits.isV4 = true
    bits.high = 0
    bits.low = v4
    return true
  }
  const bytes = parseClientAddress(text)
  if (bytes === null) return false
  fromBytes(bytes, bits)
  return true
}

/** Plain dotted decimals; -1 for every other form, which the general parser reads. */
function readV4(text: string): number {
  let [value, part, digits, dots] = [0, 0, 0, 0]
  if (text.length > 15) return -1
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === 46) {
      if (digits === 0) return -1
      value = value * 256 + part
      part = digits = 0
      dots++
    } else {
      if (code < 48 || code > 57 || (digits > 0 && part === 0)) return -1
      part = part * 10 + code - 48
      digits++
      if (part > 255) return -1
    }
  }
  return dots === 3 && digits > 0 ? value * 256 + part : -1
}

function fromBytes(bytes: Uint8Array, bits: AddressBits): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16)
  bits.isV4 = view.getUint32(0) === 0 && view.getUint32(4) === 0 && view.getUint32(8) === 0xffff
  bits.high = bits.isV4 ? 0 : view.getUint32(0)
  bits.low = view.getUint32(bits.isV4 ? 12 : 4)
}

/**
 * Reads an address or a CIDR block. A longer IPv6 prefix than /64 stands for the /64.
 *
 * @throws PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT it is neither, or bits are set behind the prefix.
 */
export function parseBlock(text: string): AddressBlock {
  const block = blockOf(text)
  if (typeof block === 'string') {
    throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT(`address "${text.slice(0, 64)}"`, block)
  }
  return block
}

/** Like {@link parseBlock}; returns the problem as a text instead of throwing. */
export function blockOf(text: string): AddressBlock | string {
  const slash = text.indexOf('/')
  const address = slash === -1 ? text : text.slice(0, slash)
  const bytes = address.includes('%') ? null : parseAddress(address)
  if (bytes === null) return 'must be an IP address or a CIDR block such as "192.0.2.0/24"'
  const bits: AddressBits = { isV4: true, high: 0, low: 0 }
  fromBytes(bytes, bits)
  const longest = bits.isV4 ? 32 : 128
  // ::ffff:192.0.2.0/120 counts its prefix from the start of the IPv6 address.
  const isMapped = bits.isV4 && address.includes(':')
  const length = slash === -1 ? String(longest) : text.slice(slash + 1)
  const given = Number(length) - (isMapped && slash !== -1 ? 96 : 0)
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || given < 0 || given > longest) {
    return `must have a prefix length from 0 to ${longest}`
  }
  const prefixBits = Math.min(given, bits.isV4 ? 32 : LONGEST_V6)
  const kept = masked(bits, prefixBits)
  const isBroad = bits.isV4 || given < LONGEST_V6
  if (isBroad && (kept.high !== bits.high || kept.low !== bits.low)) {
    return 'has bits set behind its prefix; write the first address of the block'
  }
  return { ...kept, prefixBits, text: formatBlock(kept, prefixBits) }
}

/** The first `prefixBits` bits; all others are 0. */
export function masked({ isV4, high, low }: AddressBits, prefixBits: number): AddressBits {
  if (isV4) return { isV4, high: 0, low: maskWord(low, prefixBits) }
  return { isV4, high: maskWord(high, prefixBits), low: maskWord(low, prefixBits - 32) }
}

/** The first `bits` bits of a 32-bit word. */
export function maskWord(word: number, bits: number): number {
  if (bits >= 32) return word >>> 0
  return bits <= 0 ? 0 : (word & (-1 << (32 - bits))) >>> 0
}

function formatBlock({ isV4, high, low }: AddressBits, prefixBits: number): string {
  if (isV4) {
    const address = [low >>> 24, (low >>> 16) & 255, (low >>> 8) & 255, low & 255].join('.')
    return prefixBits === 32 ? address : `${address}/${prefixBits}`
  }
  const groups = [high >>> 16, high & 0xffff, low >>> 16, low & 0xffff]
  return `${groups.map((group) => group.toString(16)).join(':')}::/${prefixBits}`
}
