/**
 * Erasure receipts: signed statements that the keys of a subject were destroyed.
 *
 * @see docs/spec/erasure-receipt.md, RFC 7515, RFC 8037
 */
import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT } from '../errors.ts'

/** The content of a receipt. */
export interface ErasureReceipt {
  readonly tenant: string
  readonly subject: string
  readonly reason: string
  /** When the keys were destroyed, in seconds since the Unix epoch. */
  readonly iat: number
  /** Ids of the keys that were destroyed. */
  readonly keyIds: readonly number[]
}

const HEADER = encode({ alg: 'EdDSA', typ: 'parapet-erasure+jwt' })

/** Reads the private key that signs receipts. @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT */
export function readReceiptKey(pem: string): KeyObject {
  let key: KeyObject | undefined
  try {
    key = createPrivateKey(pem)
  } catch {
    // The parser's message may quote the key, so it is dropped.
  }
  if (key?.asymmetricKeyType !== 'ed25519') {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      '"receiptKey"',
      'must be an Ed25519 private key in PEM',
    )
  }
  return key
}

/** Signs a receipt, as a compact JWS. */
export function signReceipt(receipt: ErasureReceipt, key: KeyObject): string {
  const signed = `${HEADER}.${encode(receipt)}`
  return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`
}

/**
 * Verifies a receipt and returns its content.
 *
 * @param publicKey Ed25519, in PEM.
 * @returns `null` if it is not a receipt that this key signed.
 */
export function verifyReceipt(receipt: string, publicKey: string): ErasureReceipt | null {
  if (typeof receipt !== 'string') return null
  const [header, payload, signature, ...rest] = receipt.split('.')
  if (header !== HEADER || payload === undefined || signature === undefined || rest.length > 0) {
    return null
  }
  const bytes = Buffer.from(signature, 'base64url')
  // Only one spelling of the signature is accepted, so that a receipt has no second valid form.
  if (bytes.toString('base64url') !== signature) return null
  const key = createPublicKey(publicKey)
  if (key.asymmetricKeyType !== 'ed25519') return null
  if (!verify(null, Buffer.from(`${header}.${payload}`), key, bytes)) return null
  return JSON.parse(Buffer.from(payload, 'base64url').toString()) as ErasureReceipt
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
