/** Access tokens: what one must say to be believed, and how one is made. */
import { takeRandom } from '@parapet/kit'
import { PARAPET_SESSIONS_TOKEN_TOO_LARGE } from './errors.ts'
import { MAX_TOKEN_LENGTH, parseJsonSegment, splitJws } from './jws.ts'
import type { KeyRing } from './keys.ts'
import { isName, isNameList, isUserId, type LoginProof, type SessionUser } from './user.ts'

/**
 * The state of the user and of the fleet that a token was made in. A token from before an epoch
 * is stale, whatever clock it was made by.
 */
export interface TokenEpochs {
  readonly user: number
  readonly fleet: number
}

/** What a verified access token says. Frozen. */
export interface AccessToken {
  readonly tokenId: string
  readonly sessionId: string
  readonly user: SessionUser
  readonly epochs: TokenEpochs
  /** @see RFC 8176 */
  readonly amr: readonly string[]
  /** Milliseconds since the Unix epoch, as all times here. */
  readonly authenticatedAt: number
  readonly issuedAt: number
  readonly expiresAt: number
}

/** Why a token was refused: for the events, never for the reply. */
type TokenFault = 'malformed' | 'unknown_key' | 'signature' | 'claims' | 'expired'

/** What a token is made for. */
interface TokenGrant {
  readonly user: SessionUser
  readonly sessionId: string
  readonly epochs: TokenEpochs
  readonly proof: Required<LoginProof>
}

/** See {@link createAccessTokens}. */
export interface AccessTokens {
  issue(grant: TokenGrant): Promise<{ readonly text: string; readonly expiresAt: number }>
  /** Everything but revocation. It never throws, and no two calls share what they return. */
  verify(token: string): AccessToken | TokenFault
}

/** What {@link createAccessTokens} needs. */
export interface AccessTokenSettings {
  readonly ring: KeyRing
  readonly issuer: string
  readonly audience: string
  readonly lifetimeMs: number
  readonly now: () => number
}

/** How far the clock of another instance may be ahead. */
const CLOCK_SKEW_MS = 5000
const ID_BYTES = 16
const ID = /^[\w-]{22}$/

/** A name of 128 random bits in base64url, for sessions, tokens and logins. */
export function randomId(): string {
  return takeRandom(ID_BYTES).toString('base64url')
}

/** Whether a text has the form of {@link randomId}. */
export function isRandomId(value: unknown): value is string {
  return typeof value === 'string' && ID.test(value)
}

/** @throws PARAPET_SESSIONS_TOKEN_TOO_LARGE from `issue`. */
export function createAccessTokens(settings: AccessTokenSettings): AccessTokens {
  const { ring, issuer, audience, lifetimeMs, now } = settings
  return {
    async issue({ user, sessionId, epochs, proof }) {
      const issuedAt = Math.floor(now() / 1000)
      const expiresAt = issuedAt + Math.floor(lifetimeMs / 1000)
      const text = await ring.sign({
        iss: issuer,
        aud: audience,
        sub: user.id,
        sid: sessionId,
        jti: randomId(),
        iat: issuedAt,
        exp: expiresAt,
        // The instance of the login may be ahead of this one.
        auth_time: Math.min(issuedAt, Math.floor(proof.authenticatedAt / 1000)),
        amr: proof.amr,
        roles: user.roles,
        permissions: user.permissions,
        tenant: user.tenantId,
        epochs: [epochs.user, epochs.fleet],
      })
      if (text.length > MAX_TOKEN_LENGTH) {
        throw new PARAPET_SESSIONS_TOKEN_TOO_LARGE(text.length, MAX_TOKEN_LENGTH)
      }
      return { text, expiresAt: expiresAt * 1000 }
    },
    verify(token) {
      const segments = splitJws(token)
      if (segments === null) return 'malformed'
      const verify = ring.find(segments)
      if (verify === null) return 'unknown_key'
      const claims = parseJsonSegment(segments.payload)
      if (claims === null) return 'malformed'
      try {
        verify(token)
      } catch {
        // Its message is for nobody: it would tell a forger what to try next.
        return 'signature'
      }
      if (claims['iss'] !== issuer || claims['aud'] !== audience) return 'claims'
      return readClaims(claims, lifetimeMs, now())
    },
  }
}

function readClaims(
  claims: Readonly<Record<string, unknown>>,
  lifetimeMs: number,
  now: number,
): AccessToken | TokenFault {
  const { sub, sid, jti, amr, roles, permissions, tenant, epochs } = claims
  const issuedAt = timeOf(claims['iat'])
  const expiresAt = timeOf(claims['exp'])
  const authenticatedAt = timeOf(claims['auth_time'])
  if (!isUserId(sub) || !isRandomId(sid) || !isRandomId(jti)) return 'claims'
  if (!isNameList(amr) || amr.length === 0 || !isNameList(roles)) return 'claims'
  if (permissions !== undefined && !isNameList(permissions)) return 'claims'
  if (tenant !== undefined && !isName(tenant)) return 'claims'
  if (!isEpochs(epochs)) return 'claims'
  if (issuedAt === null || expiresAt === null || authenticatedAt === null) return 'claims'
  if (issuedAt > now + CLOCK_SKEW_MS || authenticatedAt > issuedAt) return 'claims'
  if (expiresAt - issuedAt > lifetimeMs) return 'claims'
  const notBefore = claims['nbf'] === undefined ? 0 : timeOf(claims['nbf'])
  if (notBefore === null || notBefore > now + CLOCK_SKEW_MS) return 'claims'
  if (expiresAt <= now) return 'expired'
  return Object.freeze({
    tokenId: jti,
    sessionId: sid,
    user: Object.freeze({
      id: sub,
      roles: Object.freeze(roles),
      ...(permissions === undefined ? undefined : { permissions: Object.freeze(permissions) }),
      ...(tenant === undefined ? undefined : { tenantId: tenant }),
    }),
    epochs: Object.freeze({ user: epochs[0], fleet: epochs[1] }),
    amr: Object.freeze(amr),
    authenticatedAt,
    issuedAt,
    expiresAt,
  })
}

/** A NumericDate in whole seconds, as milliseconds. */
function timeOf(value: unknown): number | null {
  if (!Number.isSafeInteger(value)) return null
  const ms = (value as number) * 1000
  return ms >= 0 && Number.isSafeInteger(ms) ? ms : null
}

function isEpochs(value: unknown): value is [number, number] {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    value.every((epoch) => Number.isSafeInteger(epoch) && epoch >= 0)
  )
}
