/** The key with which this service authenticates at a provider, in place of a shared secret. */
import { webcrypto, type KeyObject } from 'node:crypto'
import type * as client from 'openid-client'
import type { ClientAuth } from 'openid-client'
import { readPrivateKey, type KeyInput } from '../keys/read-key.ts'
import type { Algorithm } from '../keys/strong-key.ts'

/** The private key of a client. Its algorithm follows from its kind: RS256, ES256 or EdDSA. */
export interface ClientKeyInput extends KeyInput {
  /** The `kid` of its public key at the provider, where that has several. @default none */
  readonly keyId?: string | undefined
}

/** A key that was read at boot. */
export interface ClientKey {
  readonly keyId: string | undefined
  readonly algorithm: Algorithm
  readonly privateKey: KeyObject
}

/** What WebCrypto calls each algorithm. */
const WEB_ALGORITHMS = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  EdDSA: { name: 'Ed25519' },
} as const satisfies Record<Algorithm, object>

/** @throws PARAPET_SESSIONS_INVALID_KEY it is no private key, or too weak. */
export function readClientKey(
  input: ClientKeyInput,
  name: string,
  acceptRsa2048: boolean,
): ClientKey {
  const { privateKey, algorithm } = readPrivateKey(input, name, acceptRsa2048)
  return { keyId: input.keyId, algorithm, privateKey }
}

/**
 * Signs a short-lived assertion for each request. Its audience is the issuer alone, so that another server
 * cannot use it.
 *
 * @see RFC 7523, section 2.2; OpenID Connect Core 1.0, section 9
 */
export async function authenticateByKey(
  { PrivateKeyJwt, modifyAssertion }: typeof client,
  { keyId, algorithm, privateKey }: ClientKey,
): Promise<ClientAuth> {
  const der = privateKey.export({ type: 'pkcs8', format: 'der' })
  const web = WEB_ALGORITHMS[algorithm]
  const key = await webcrypto.subtle.importKey('pkcs8', der, web, false, ['sign'])
  return PrivateKeyJwt(keyId === undefined ? key : { key, kid: keyId }, {
    // The library says `Ed25519` (RFC 9864), which providers do not know yet.
    [modifyAssertion]: (header: Record<string, unknown>) => void (header['alg'] = algorithm),
  })
}
