/** Which roles see a field: revealed, masked or withheld. */
import { PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED } from '../errors.ts'
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

/**
 * Masks a value. The error of a mask may quote the value, so it only becomes the cause of the refusal.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED the mask throws, or returns no text.
 */
export function applyMask(mask: Mask, value: unknown, path: string): string {
  let cause: unknown
  try {
    const shown: unknown = mask(String(value))
    if (typeof shown === 'string') return shown
  } catch (error) {
    cause = error
  }
  const problem = `the mask of "${path}" must return a text and not throw`
  throw Object.assign(new PARAPET_FIELD_ENCRYPTION_REVEAL_REFUSED(problem), { cause })
}
