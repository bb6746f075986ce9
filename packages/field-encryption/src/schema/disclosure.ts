/** Which roles see a field: revealed, masked or withheld. */
import type { EncryptedField } from './encrypted.ts'
import type { Mask } from './masks.ts'

/** What a caller sees of a field. */
export type Disclosure = 'reveal' | 'withhold' | Mask

/**
 * Decides what a caller with these roles sees. The value is revealed if any role may read it; otherwise
 * the first mask of a role applies, then the default mask; otherwise the value is withheld.
 */
export function decideDisclosure(field: EncryptedField, roles: readonly string[]): Disclosure {
  const { reveal, masks } = field
  if (reveal === 'never') return 'withhold'
  if (roles.some((role) => reveal.has(role))) return 'reveal'
  const maskedRole = roles.find((role) => masks.has(role))
  return masks.get(maskedRole ?? 'default') ?? 'withhold'
}
