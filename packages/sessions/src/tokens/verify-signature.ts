/** Signature verification by `fast-jwt`, the engine of `@fastify/jwt`. */
import { createVerifier } from 'fast-jwt'
import { PARAPET_SESSIONS_INVALID_KEY } from '../errors.ts'
import type { SignatureVerifier } from '../keys/read-key.ts'
import type { Algorithm } from '../keys/strong-key.ts'

/** What a verifier checks in addition to the signature and `typ`. */
export interface ExpectedClaims {
  readonly issuer: string
  readonly audience: string
}

/**
 * Creates the verifier of one key. It is created once for each key, because creating one parses the
 * key, which takes longer than verifying a token.
 *
 * @throws PARAPET_SESSIONS_INVALID_KEY the library rejects the key.
 * @see docs/adr/0501-gate-before-the-library.md
 */
export function createSignatureVerifier(
  publicPem: string,
  algorithm: Algorithm,
  { issuer, audience }: ExpectedClaims,
): SignatureVerifier {
  try {
    return createVerifier({
      key: publicPem,
      algorithms: [algorithm],
      allowedIss: issuer,
      allowedAud: audience,
      checkTyp: 'at+jwt',
      // The library reads the machine's clock. `claims.ts` checks the times by the plugin's clock.
      ignoreExpiration: true,
      ignoreNotBefore: true,
      // A cache would give the same mutable payload to every request.
      cache: false,
    })
  } catch {
    // The library's own error may quote the key.
    throw new PARAPET_SESSIONS_INVALID_KEY(algorithm, 'the JWT library rejects it')
  }
}
