/** The cipher of accounts, and which of its keys sealed a record. */
import {
  createLocalCipher,
  keyIdOf,
  parseCipherKeys,
  parseSealedText,
  type Cipher,
} from '@parapet/kit'

/** A cipher whose keys can be rotated. */
export interface AccountCipher {
  readonly cipher: Cipher
  /** Whether the key that seals now sealed this text; `null`: a cipher of the application does not tell. */
  readonly isPrimary: (sealed: string) => boolean | null
}

/** A cipher of the application. */
export function wrapCipher(cipher: Cipher): AccountCipher {
  return { cipher, isPrimary: () => null }
}

/** The built-in cipher. @throws PARAPET_KIT_INVALID_ARGUMENT */
export function createAccountCipher(keys: string): AccountCipher {
  const parsed = parseCipherKeys(keys)
  const primary = parsed[0]!.id
  return {
    cipher: createLocalCipher(parsed),
    isPrimary(sealed) {
      const bytes = parseSealedText(sealed)
      return bytes !== undefined && keyIdOf(bytes) === primary
    },
  }
}
