/** Checks the claims of an access token whose signature is valid. */
import { isRandomId } from '../secrets/random-id.ts'
import { isName, isNameList, isUserId } from '../users/names.ts'
import type { AccessToken, TokenFault } from './access-token.ts'

/** How far the clock of another instance may be ahead, in milliseconds. */
export const CLOCK_SKEW_MS = 5000

/** What valid claims say. */
interface ReadClaims {
  readonly token: AccessToken
  /** The token is refused before this time, in milliseconds since the Unix epoch. */
  readonly validFrom: number
}

/**
 * Reads the claims, or returns why the token is refused.
 *
 * @param lifetimeMs the longest lifetime that is accepted, in milliseconds.
 * @see docs/spec/access-token.md
 */
export function readClaims(
  claims: Readonly<Record<string, unknown>>,
  lifetimeMs: number,
  now: number,
  evenExpired = false,
): ReadClaims | TokenFault {
  const { sub, sid, jti, amr, acr, gen, roles, permissions, tenant, epochs } = claims
  const { act, factor_due: factorDue } = claims
  if (!isUserId(sub) || !isRandomId(sid) || !isRandomId(jti)) return 'claims'
  if (!isNameList(amr) || amr.length === 0 || !isNameList(roles)) return 'claims'
  if (permissions !== undefined && !isNameList(permissions)) return 'claims'
  if (tenant !== undefined && !isName(tenant)) return 'claims'
  if (acr !== undefined && !isName(acr)) return 'claims'
  if (gen !== undefined && !isCount(gen)) return 'claims'
  if (act !== undefined && !isActor(act)) return 'claims'
  if (factorDue !== undefined && factorDue !== true) return 'claims'
  if (!isEpochs(epochs)) return 'claims'
  const issuedAt = timeOf(claims['iat'])
  const expiresAt = timeOf(claims['exp'])
  const authenticatedAt = timeOf(claims['auth_time'])
  const notBefore = claims['nbf'] === undefined ? 0 : timeOf(claims['nbf'])
  // NaN, an invalid time, fails each of these comparisons.
  if (!(authenticatedAt <= issuedAt && expiresAt - issuedAt <= lifetimeMs)) return 'claims'
  const validFrom = Math.max(issuedAt, notBefore) - CLOCK_SKEW_MS
  const fault = timeFaultOf(validFrom, expiresAt, now)
  if (fault === 'claims' || (fault === 'expired' && !evenExpired)) return fault
  const token = Object.freeze({
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
    ...(acr === undefined ? undefined : { acr }),
    ...(gen === undefined ? undefined : { generation: gen }),
    ...(act === undefined ? undefined : { actorId: act.sub }),
    ...(factorDue === undefined ? undefined : { isFactorDue: factorDue }),
    authenticatedAt,
    issuedAt,
    expiresAt,
  })
  return { token, validFrom }
}

/** What is wrong with the times of a token now. @param validFrom NaN is always wrong. */
export function timeFaultOf(
  validFrom: number,
  expiresAt: number,
  now: number,
): TokenFault | undefined {
  if (!(validFrom <= now)) return 'claims'
  return expiresAt <= now ? 'expired' : undefined
}

/** A NumericDate in whole seconds, as milliseconds; NaN for anything else. */
function timeOf(value: unknown): number {
  if (!Number.isSafeInteger(value)) return NaN
  const ms = (value as number) * 1000
  return ms >= 0 && Number.isSafeInteger(ms) ? ms : NaN
}

function isActor(value: unknown): value is { readonly sub: string } {
  return typeof value === 'object' && value !== null && isUserId((value as { sub?: unknown }).sub)
}

function isEpochs(value: unknown): value is [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every(isCount)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
