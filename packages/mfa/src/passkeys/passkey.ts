/** A passkey as users and applications see it. */
import type { StoredPasskey } from '../account/account.ts'
import { hashText } from '../tokens/hash-text.ts'

/** One passkey of a user, without its key. */
export interface Passkey extends Omit<StoredPasskey, 'publicKey'> {
  /** 16 characters for URLs and calls of `app.mfa.passkeys`. */
  readonly id: string
  /** The id that WebAuthn uses, base64url: up to 1364 characters. */
  readonly credentialId: string
}

const ID_CHARS = 16

/**
 * The short id of a passkey: 96 bits of the SHA-256 of its credential id. Authenticators choose
 * credential ids of up to 1023 bytes, which exceed the longest URL parameter of most servers.
 *
 * @see WebAuthn Level 3, section 4, "Credential ID"
 */
export function passkeyIdOf(credentialId: string): string {
  return hashText(credentialId).slice(0, ID_CHARS)
}

/** What users and applications see of a stored passkey. */
export function viewPasskey({ publicKey: _publicKey, ...passkey }: StoredPasskey): Passkey {
  return { ...passkey, id: passkeyIdOf(passkey.id), credentialId: passkey.id }
}
