/** Clients that are never contained, whatever a rule, an incident or an operator says. */
import { parseBlock, type AddressBits, type AddressBlock } from './address.ts'
import type { Target } from './containment.ts'
import { PrefixTable } from './prefix-table.ts'

/** See {@link createAllowlist}. */
export interface Allowlist {
  hasAddress(address: AddressBits): boolean
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
  const blocks = addresses.map(parseBlock)
  const table = new PrefixTable()
  for (const block of blocks) table.add(block, 1)
  const ids = new Set(principals)
  const hasAddress = (address: AddressBits): boolean => table.some(address, always)
  return {
    hasAddress,
    hasPrincipal: (id) => ids.has(id),
    has({ type, value }) {
      if (type === 'principal') return ids.has(value)
      if (type === 'service') return false
      const target = parseBlock(value)
      return blocks.some((block) => contains(block, target))
    },
  }
}

function contains(outer: AddressBlock, inner: AddressBlock): boolean {
  if (outer.prefixBits > inner.prefixBits || outer.isV4 !== inner.isV4) return false
  const table = new PrefixTable()
  table.add(outer, 1)
  return table.some(inner, always)
}
