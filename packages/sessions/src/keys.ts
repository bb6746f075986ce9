/** The keys that sign and verify: the current one, the one announced, and those on their way out. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import {
  PARAPET_SESSIONS_INVALID_KEY,
  PARAPET_SESSIONS_KEY_NOT_PUBLISHED,
  PARAPET_SESSIONS_UNAVAILABLE,
} from './errors.ts'
import { jwkOf, requireStrongKey, thumbprintOf, type Algorithm } from './jwk.ts'
import { parseJwsHeader, signatureLengthOf, type JwsSegments, type VerificationKey } from './jws.ts'

/** One key as configuration has it. Its algorithm follows from its kind: RS256, ES256 or EdDSA. */
export interface KeyInput {
  /** PEM: a private key, encrypted or not; for a retired key its public key is enough. */
  readonly pem: string
  /** What the private key is encrypted with. */
  readonly passphrase?: string | undefined
}

/** The keys of a service at one time. */
export interface KeySet {
  /** Signs. */
  readonly current: KeyInput
  /** Published and trusted, but signs nothing yet: the first half of a rotation. */
  readonly next?: KeyInput | undefined
  /** Still trusted, until the tokens they signed have expired. */
  readonly retired?: readonly KeyInput[] | undefined
}

/** Verifies the signature and the audience of a token; throws what it likes. */
export type TokenVerifier = (token: string) => unknown
/** The port to the library that verifies: it gets one key, and is asked for each token of that key. */
export type CreateVerifier = (publicPem: string, algorithm: Algorithm) => TokenVerifier

/** A public key as others verify with it. @see RFC 7517, section 4 */
export type PublishedKey = JsonWebKey & {
  readonly kid: string
  readonly alg: Algorithm
  readonly use: 'sig'
}

interface RingKey extends VerificationKey {
  readonly keyId: string
  readonly privateKey: KeyObject | undefined
  readonly published: PublishedKey
  /** The header of every token that this key signs. */
  readonly headerSegment: string
  readonly verify: TokenVerifier
  /** Trusted before this moment; Infinity while it is configured. */
  trustedUntil: number
}

/** What {@link createKeyRing} needs. */
export interface KeyRingSettings {
  readonly keys: KeySet
  readonly allowRsa2048: boolean
  readonly createVerifier: CreateVerifier
  readonly now: () => number
  /** How long a key that no longer signs is trusted, in milliseconds. */
  readonly overlapMs: number
}

/** See {@link createKeyRing}. */
export interface KeyRing {
  readonly currentKeyId: string
  /** Signs with the current key. The work is done off the event loop. */
  sign(payload: object): Promise<string>
  /** The verifier of the key that a token names, or `null`: no such key, or not in its form. */
  find(segments: JwsSegments): TokenVerifier | null
  /**
   * Takes another set of keys. Whatever was trusted and is left out stays trusted for the overlap.
   *
   * @returns the ids of keys that no longer sign.
   * @throws PARAPET_SESSIONS_KEY_NOT_PUBLISHED the new current key was not in the set before.
   */
  replace(keys: KeySet): readonly string[]
  /** The public keys and their entity tag. @see RFC 7517, section 5 */
  publish(): { readonly body: { readonly keys: readonly PublishedKey[] }; readonly etag: string }
}

/**
 * Makes the ring.
 *
 * @throws PARAPET_SESSIONS_INVALID_KEY a key cannot be read or is too weak.
 */
export function createKeyRing(settings: KeyRingSettings): KeyRing {
  const { now, overlapMs } = settings
  let current = readKey(settings.keys.current, 'current', settings)
  let ring = readRing(settings.keys, current, settings)

  const trusted = (key: RingKey | undefined): RingKey | null =>
    key !== undefined && key.trustedUntil > now() ? key : null

  return {
    get currentKeyId() {
      return current.keyId
    },
    async sign(payload) {
      const { headerSegment, privateKey, algorithm } = current
      const input = `${headerSegment}.${Buffer.from(JSON.stringify(payload)).toString('base64url')}`
      return `${input}.${await signBytes(privateKey!, algorithm, Buffer.from(input))}`
    },
    find(segments) {
      // Tokens of our own have one of a few headers, to the letter; others are read.
      let key = trusted(ring.find((each) => each.headerSegment === segments.header))
      if (key === null) {
        const header = parseJwsHeader(segments.header)
        key = trusted(ring.find(({ keyId }) => keyId === header?.kid))
        if (header?.typ?.toLowerCase() !== 'at+jwt' || header.alg !== key?.algorithm) return null
      }
      const { signature } = segments
      return Buffer.byteLength(signature, 'base64url') === signatureLengthOf(key)
        ? key.verify
        : null
    },
    replace(keys) {
      const next = readKey(keys.current, 'current', settings)
      if (trusted(ring.find(({ keyId }) => keyId === next.keyId)) === null) {
        throw new PARAPET_SESSIONS_KEY_NOT_PUBLISHED()
      }
      const replaced = readRing(keys, next, settings)
      const kept = ring.filter((key) => replaced.every(({ keyId }) => keyId !== key.keyId))
      const until = now() + overlapMs
      for (const key of kept) key.trustedUntil = Math.min(key.trustedUntil, until)
      const retired = next.keyId === current.keyId ? [] : [current.keyId]
      ring = [...replaced, ...kept.filter((key) => trusted(key) !== null)]
      current = next
      return retired
    },
    publish() {
      const keys = ring.filter((key) => trusted(key) !== null).map(({ published }) => published)
      const ids = keys.map(({ kid }) => kid).join()
      const tag = createHash('sha256').update(ids).digest('base64url').slice(0, 22)
      return { body: { keys }, etag: `"${tag}"` }
    },
  }
}

/**
 * Makes a new private key as an encrypted PEM, for a first start, a test or a rotation.
 *
 * @param passphrase what it is encrypted with.
 * @param algorithm @default 'ES256', whose signatures are the cheapest to make
 */
export function generateKey(passphrase: string, algorithm: Algorithm = 'ES256'): KeyInput {
  const encoding = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase } as const
  const privateKey =
    algorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
      : algorithm === 'EdDSA'
        ? generateKeyPairSync('ed25519').privateKey
        : generateKeyPairSync('rsa', { modulusLength: 3072 }).privateKey
  return { pem: privateKey.export(encoding).toString(), passphrase }
}

function readRing(keys: KeySet, current: RingKey, settings: KeyRingSettings): RingKey[] {
  const ring = [current]
  const others = [...(keys.next === undefined ? [] : [keys.next]), ...(keys.retired ?? [])]
  for (const [index, input] of others.entries()) {
    const name = input === keys.next ? 'next' : `retired[${index}]`
    const key = readKey(input, name, settings)
    if (ring.every(({ keyId }) => keyId !== key.keyId)) ring.push(key)
  }
  return ring
}

function readKey(input: KeyInput, name: string, settings: KeyRingSettings): RingKey {
  const isPublic = input.pem.includes('BEGIN PUBLIC KEY')
  let privateKey: KeyObject | undefined
  let publicKey: KeyObject
  try {
    if (!isPublic) privateKey = createPrivateKey({ key: input.pem, passphrase: input.passphrase })
    publicKey = createPublicKey(privateKey ?? input.pem)
  } catch {
    // What the parser says may quote the key.
    throw new PARAPET_SESSIONS_INVALID_KEY(name, 'is no PEM key that its passphrase opens')
  }
  if (privateKey === undefined && (name === 'current' || name === 'next')) {
    throw new PARAPET_SESSIONS_INVALID_KEY(name, 'must be a private key')
  }
  const algorithm = requireStrongKey(publicKey, name, settings.allowRsa2048)
  const jwk = jwkOf(publicKey)
  const keyId = thumbprintOf(jwk)
  const header = JSON.stringify({ alg: algorithm, typ: 'at+jwt', kid: keyId })
  return {
    algorithm,
    publicKey,
    privateKey,
    keyId,
    published: { ...jwk, kid: keyId, alg: algorithm, use: 'sig' },
    headerSegment: Buffer.from(header).toString('base64url'),
    verify: settings.createVerifier(
      publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      algorithm,
    ),
    trustedUntil: Infinity,
  }
}

function signBytes(key: KeyObject, algorithm: Algorithm, input: Buffer): Promise<string> {
  const digest = algorithm === 'EdDSA' ? null : 'sha256'
  return new Promise((resolve, reject) => {
    // With a callback an RSA signature, milliseconds of work, does not hold up other requests.
    sign(digest, input, { key, dsaEncoding: 'ieee-p1363' }, (error, signature) => {
      if (error === null) resolve(signature.toString('base64url'))
      else reject(new PARAPET_SESSIONS_UNAVAILABLE({ cause: error }))
    })
  })
}
