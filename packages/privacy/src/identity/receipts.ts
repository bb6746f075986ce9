/**
 * Signs and verifies receipts: compact JWS with Ed25519.
 *
 * @see docs/spec/privacy-receipt.md, RFC 7515, RFC 8037
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  sign,
  verify,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'

/** How one part of an erasure ended. */
export interface ReceiptPart {
  readonly name: string
  readonly kind: 'source' | 'keys' | 'processor'
  /** `told`: a processor has confirmed that it received the notice, and not yet that it erased. */
  readonly outcome: 'erased' | 'told'
  /** What is kept, each field with its legal basis. */
  readonly retained: readonly { readonly field: string; readonly basis: string }[]
  /** In seconds since the Unix epoch. */
  readonly at: number
}

/** The payload of a receipt. */
export interface PrivacyReceipt {
  /** The id of the request. */
  readonly jti: string
  readonly iss: string
  /** The pseudonym of the subject; only the holder of the secret can compute it. */
  readonly sub: string
  /** When the erasure was complete, in seconds since the Unix epoch. */
  readonly iat: number
  readonly parts: readonly ReceiptPart[]
  /** Backups that were made before `iat` are deleted by this time, in seconds since the Unix epoch. */
  readonly backupsUntil: number
}

/** A public key as JSON Web Key. */
export interface ReceiptKey extends JsonWebKey {
  readonly kid: string
}

/** Signs receipts. */
export interface ReceiptSigner {
  sign(receipt: PrivacyReceipt): string
  /** The key that verifies them. */
  readonly publicKey: ReceiptKey
}

const TYPE = 'parapet-privacy-receipt+jwt'

/** @returns `undefined`: the text is no Ed25519 private key in PEM. */
export function readSigningKey(pem: string): KeyObject | undefined {
  try {
    const key = createPrivateKey(pem)
    return key.asymmetricKeyType === 'ed25519' ? key : undefined
  } catch {
    // The parser's message may quote the key, so it is dropped.
    return undefined
  }
}

/** @param key Ed25519 */
export function createReceiptSigner(key: KeyObject): ReceiptSigner {
  const jwk = createPublicKey(key).export({ format: 'jwk' })
  const kid = thumbprintOf(jwk)
  const header = encode({ alg: 'EdDSA', typ: TYPE, kid })
  return {
    publicKey: Object.freeze({ ...jwk, kid, alg: 'EdDSA', use: 'sig' }),
    sign(receipt) {
      const signed = `${header}.${encode(receipt)}`
      return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`
    },
  }
}

/**
 * Verifies a receipt offline.
 *
 * @param keys the JWK Set of `GET /privacy/keys`, or its members.
 * @returns `null` if none of the keys signed it.
 */
export function verifyReceipt(receipt: string, keys: readonly JsonWebKey[]): PrivacyReceipt | null {
  if (typeof receipt !== 'string') return null
  const [header, payload, signature, ...rest] = receipt.split('.')
  if (header === undefined || payload === undefined || signature === undefined) return null
  if (rest.length > 0) return null
  const bytes = Buffer.from(signature, 'base64url')
  // One spelling only, so that a receipt has no second valid form.
  if (bytes.toString('base64url') !== signature) return null
  for (const jwk of keys) {
    if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519') continue
    if (header !== encode({ alg: 'EdDSA', typ: TYPE, kid: thumbprintOf(jwk) })) continue
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    if (!verify(null, Buffer.from(`${header}.${payload}`), key, bytes)) continue
    return JSON.parse(Buffer.from(payload, 'base64url').toString()) as PrivacyReceipt
  }
  return null
}

/** @see RFC 7638 and RFC 8037, appendix A.3 */
function thumbprintOf({ crv, kty, x }: JsonWebKey): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url')
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
