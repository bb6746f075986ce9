/** Issues access tokens. */
import { PARAPET_SESSIONS_TOKEN_TOO_LARGE } from '../errors.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import type { TokenEpochs } from '../revocation/epoch.ts'
import { randomId } from '../secrets/random-id.ts'
import type { SessionProof, SessionUser } from '../users/user.ts'
import { MAX_TOKEN_LENGTH } from './parse-jws.ts'

/** What a new token contains. */
interface TokenContent {
  readonly user: SessionUser
  readonly sessionId: string
  /** The number of rotations of the session. */
  readonly generation: number
  readonly epochs: TokenEpochs
  readonly proof: SessionProof
  /** An operator acts as the user; the token ends with that. */
  readonly actor?: { readonly id: string; readonly endsAt: number }
  /** The session may only enrol a second factor. */
  readonly isFactorDue?: boolean
}

/** A new token. */
interface IssuedToken {
  readonly text: string
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
}

/** What {@link createTokenIssuer} needs. */
export interface TokenIssuerSettings {
  readonly ring: KeyRing
  readonly issuer: string
  readonly audience: string
  /** In milliseconds; the token has the whole seconds. */
  readonly lifetimeMs: number
  readonly now: () => number
}

/** Issues and signs one token. @throws PARAPET_SESSIONS_TOKEN_TOO_LARGE, PARAPET_SESSIONS_UNAVAILABLE */
export type TokenIssuer = (content: TokenContent) => Promise<IssuedToken>

/** Creates the issuer of access tokens. @see docs/spec/access-token.md */
export function createTokenIssuer(settings: TokenIssuerSettings): TokenIssuer {
  const { ring, issuer, audience, lifetimeMs, now } = settings
  return async ({ user, sessionId, generation, epochs, proof, actor, isFactorDue }) => {
    const issuedAt = Math.floor(now() / 1000)
    const end = actor === undefined ? Infinity : Math.floor(actor.endsAt / 1000)
    const expiresAt = Math.min(issuedAt + Math.floor(lifetimeMs / 1000), end)
    const text = await ring.sign({
      iss: issuer,
      aud: audience,
      sub: user.id,
      sid: sessionId,
      jti: randomId(),
      iat: issuedAt,
      exp: expiresAt,
      // The clock of the instance that handled the login may be ahead of this one.
      auth_time: Math.min(issuedAt, Math.floor(proof.authenticatedAt / 1000)),
      amr: proof.amr,
      acr: proof.acr,
      gen: generation,
      roles: user.roles,
      permissions: user.permissions,
      tenant: user.tenantId,
      // RFC 8693, section 4.1
      act: actor === undefined ? undefined : { sub: actor.id },
      factor_due: isFactorDue,
      epochs: [epochs.user, epochs.fleet],
    })
    if (text.length > MAX_TOKEN_LENGTH) {
      throw new PARAPET_SESSIONS_TOKEN_TOO_LARGE(text.length, MAX_TOKEN_LENGTH)
    }
    return { text, expiresAt: expiresAt * 1000 }
  }
}
