/** Clients that are never contained, whatever a rule, an incident or an operator says. */
import { parseAddress, parseClientAddress } from '@parapet/kit'
import { parseBlock, readAddress, type AddressBits, type AddressBlock } from './address.ts'
import type { Target } from './containment.ts'
import { PrefixTable } from './prefix-table.ts'

/** See {@link createAllowlist}. */
export interface Allowlist {
  /** Whether a client is allowed. Unlike a containment, an entry of IPv6 may be a single address of a /64. */
  hasClient(ip: string): boolean
  hasPrincipal(id: string): boolean
  /** Whether a target is allowed as a whole. A block with allowed addresses in it is not: they pass one by one. */
  has(target: Target): boolean
}

const always = () => true

/** Compiles the list. @param addresses addresses and CIDR blocks. @param principals ids. */
export function createAllowlist(
  addresses: readonly string[],
  principals: readonly string[],
): Allowlist {
  const exact = addresses.map(exactOf).filter((entry) => entry !== undefined)
  const blocks = addresses.filter((text) => exactOf(text) === undefined).map(parseBlock)
  const table = new PrefixTable()
  for (const block of blocks) table.add(block, 1)
  const ids = new Set(principals)
  return {
    hasClient(ip) {
      const bits: AddressBits = { isV4: true, high: 0, low: 0 }
      if (!readAddress(ip, bits)) return false
      if (table.some(bits, always)) return true
      const bytes = exact.length === 0 ? null : parseClientAddress(ip)
      return bytes !== null && exact.some((entry) => entry.matches(bytes))
    },
    hasPrincipal: (id) => ids.has(id),
    has({ type, value }) {
      if (type === 'principal') return ids.has(value)
      if (type !== 'address') return false
      const target = parseBlock(value)
      return blocks.some((block) => contains(block, target))
    },
  }
}

/** An IPv6 entry longer than /64: what containments do not tell apart. */
function exactOf(text: string): { matches(bytes: Uint8Array): boolean } | undefined {
  const [address = '', length = '128'] = text.split('/')
  const bits = Number(length)
  const { isV4 } = parseBlock(text)
  const bytes = isV4 || bits <= 64 ? null : parseAddress(address)
  if (bytes === null) return undefined
  const wanted = prefixOf(bytes, bits)
  return { matches: (each) => prefixOf(each, bits) === wanted }
}

function prefixOf(bytes: Uint8Array, bits: number): bigint {
  const number = BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
  return number >> BigInt(128 - bits)
}

function contains(outer: AddressBlock, inner: AddressBlock): boolean {
  if (outer.prefixBits > inner.prefixBits || outer.isV4 !== inner.isV4) return false
  const table = new PrefixTable()
  table.add(outer, 1)
  return table.some(inner, always)
}
