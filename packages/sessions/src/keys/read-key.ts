/** Reads the configured PEM keys. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { PARAPET_SESSIONS_INVALID_KEY } from '../errors.ts'
import { publicJwkOf, thumbprintOf, type PublishedKey } from './jwk.ts'
import { requireStrongKey, type Algorithm, type VerificationKey } from './strong-key.ts'

/** One configured key. Its algorithm follows from its kind: RS256, ES256 or EdDSA. */
export interface KeyInput {
  /** PEM: a private key, encrypted or not. For a retired key, the public key is enough. */
  readonly pem: string
  /** Decrypts an encrypted private key. */
  readonly passphrase?: string | undefined
}

/** The keys of a service at one time. */
export interface KeySet {
  /** Signs new tokens. */
  readonly current: KeyInput
  /** Published and trusted, but does not sign yet: the first half of a rotation. */
  readonly next?: KeyInput | undefined
  /** Trusted until the tokens they signed have expired. At most 16. */
  readonly retired?: readonly KeyInput[] | undefined
}

/** Verifies signature, issuer, audience and type of a token; throws any error if one is wrong. */
export type SignatureVerifier = (token: string) => unknown
/** Makes the verifier of one key, which is then called for each token of that key. */
type CreateSignatureVerifier = (publicPem: string, algorithm: Algorithm) => SignatureVerifier

/** A key that was read from its PEM. */
export interface SigningKey extends VerificationKey {
  readonly keyId: string
  /** Absent for a retired key that was given as a public key. */
  readonly privateKey: KeyObject | undefined
  readonly published: PublishedKey
  /** The first segment of every token that this key signs. */
  readonly headerSegment: string
  readonly verify: SignatureVerifier
}

/** How keys are read. */
export interface ReadKeySettings {
  /** @see requireStrongKey */
  readonly acceptRsa2048: boolean
  readonly createVerifier: CreateSignatureVerifier
}

/** Reads all keys of a set, `current` first; a key that is listed twice is read once. */
export function readKeySet(keys: KeySet, settings: ReadKeySettings): [SigningKey, ...SigningKey[]] {
  const ring: [SigningKey, ...SigningKey[]] = [
    requirePrivate(readKey(keys.current, 'current', settings), 'current'),
  ]
  const add = (key: SigningKey): void => {
    if (ring.every(({ keyId }) => keyId !== key.keyId)) ring.push(key)
  }
  if (keys.next !== undefined) add(requirePrivate(readKey(keys.next, 'next', settings), 'next'))
  for (const [index, input] of (keys.retired ?? []).entries()) {
    add(readKey(input, `retired[${index}]`, settings))
  }
  return ring
}

/** Reads one private key for another purpose than access tokens. @throws PARAPET_SESSIONS_INVALID_KEY */
export function readPrivateKey(
  input: KeyInput,
  name: string,
  acceptRsa2048: boolean,
): { readonly algorithm: Algorithm; readonly privateKey: KeyObject } {
  const { privateKey, publicKey } = parsePem(input, name)
  const algorithm = requireStrongKey(publicKey, name, acceptRsa2048)
  if (privateKey !== undefined) return { privateKey, algorithm }
  throw new PARAPET_SESSIONS_INVALID_KEY(name, PUBLIC_KEY)
}

const PUBLIC_KEY = 'expected a private key, got a public key'

function requirePrivate(key: SigningKey, name: string): SigningKey {
  if (key.privateKey !== undefined) return key
  throw new PARAPET_SESSIONS_INVALID_KEY(name, PUBLIC_KEY)
}

function readKey(input: KeyInput, name: string, settings: ReadKeySettings): SigningKey {
  const { privateKey, publicKey } = parsePem(input, name)
  const algorithm = requireStrongKey(publicKey, name, settings.acceptRsa2048)
  const jwk = publicJwkOf(publicKey)
  const keyId = thumbprintOf(jwk)
  const header = JSON.stringify({ alg: algorithm, typ: 'at+jwt', kid: keyId })
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  return {
    algorithm,
    publicKey,
    privateKey,
    keyId,
    published: { ...jwk, kid: keyId, alg: algorithm, use: 'sig' },
    headerSegment: Buffer.from(header).toString('base64url'),
    verify: settings.createVerifier(publicPem, algorithm),
  }
}

function parsePem(
  { pem, passphrase }: KeyInput,
  name: string,
): { readonly privateKey: KeyObject | undefined; readonly publicKey: KeyObject } {
  try {
    if (pem.includes('BEGIN PUBLIC KEY')) {
      return { privateKey: undefined, publicKey: createPublicKey(pem) }
    }
    const privateKey = createPrivateKey({ key: pem, passphrase })
    return { privateKey, publicKey: createPublicKey(privateKey) }
  } catch {
    // The parser's own error may quote the key.
    throw new PARAPET_SESSIONS_INVALID_KEY(
      name,
      'expected a PEM key that its passphrase decrypts, got something else',
    )
  }
}
