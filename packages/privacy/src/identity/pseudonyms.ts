/** Pseudonyms of subjects, and the keys behind them: all derived from one secret that never changes. */
import {
  createHmac,
  createPrivateKey,
  hkdfSync,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto'

/** Derives values that only the holder of the secret can link to a subject. */
export interface Pseudonyms {
  /** The pseudonym under which this plugin stores what belongs to a subject: 43 characters, base64url. */
  referenceOf(subject: string): string
  /** A replacement value: the same input gives the same output. 43 characters, base64url. */
  replacementOf(...parts: readonly string[]): string
  /** Authenticates an entry of the ledger. */
  authenticate(text: string): string
  verify(text: string, mac: string): boolean
}

/** The bytes of a PKCS #8 Ed25519 key before its seed. @see RFC 8410, section 7 */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** @param secret at least 32 bytes. A change of it makes all pseudonyms unknown. */
export function createPseudonyms(secret: Uint8Array): Pseudonyms {
  const [reference, replacement, ledger] = ['reference', 'replacement', 'ledger'].map((use) =>
    derive(secret, use),
  ) as [Buffer, Buffer, Buffer]
  const authenticate = (text: string) => mac(ledger, [text])
  return {
    referenceOf: (subject) => mac(reference, [subject]),
    replacementOf: (...parts) => mac(replacement, parts),
    authenticate,
    verify: (text, given) => {
      const [expected, actual] = [Buffer.from(authenticate(text)), Buffer.from(given)]
      return expected.length === actual.length && timingSafeEqual(expected, actual)
    },
  }
}

/** The key that signs receipts where the option `signingKey` is left out. */
export function deriveSigningKey(secret: Uint8Array): KeyObject {
  const key = Buffer.concat([PKCS8_ED25519, derive(secret, 'receipts')])
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
}

/** Each part behind its length, so that no two lists of parts have the same bytes. */
function mac(key: Buffer, parts: readonly string[]): string {
  const hmac = createHmac('sha256', key)
  for (const part of parts) hmac.update(`${Buffer.byteLength(part)}:`).update(part)
  return hmac.digest('base64url')
}

function derive(secret: Uint8Array, use: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `parapet/privacy/${use}`, 32))
}
