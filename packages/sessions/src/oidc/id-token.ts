/** Reads an ID token whose signature, issuer, audience, nonce and times are verified. */
import { createHash } from 'node:crypto'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { parseJsonSegment } from '../tokens/parse-jws.ts'
import { isName, isNameList } from '../users/names.ts'
import { requireUser, type LoginProof, type SessionUser } from '../users/user.ts'
import type { ProviderSettings } from './provider.ts'

/** The claims of a verified ID token. */
export type IdTokenClaims = Readonly<Record<string, unknown>> & { readonly sub: string }

/** OpenID Connect Core 1.0, section 2. */
const MAX_SUBJECT_LENGTH = 255
/** A longer list would only make the access token too large. */
const MAX_METHODS = 10

/**
 * The checks that the library leaves to its user: the subject, the authorized party, and the hash of
 * the access token.
 *
 * @see OpenID Connect Core 1.0, sections 3.1.3.6 to 3.1.3.8
 */
export function isForThisLogin(
  { sub, azp, at_hash: hash }: IdTokenClaims,
  tokens: { readonly id_token?: string; readonly access_token: string },
  clientId: string,
): boolean {
  if (!isName(sub, MAX_SUBJECT_LENGTH)) return false
  if (azp !== undefined && azp !== clientId) return false
  return hash === undefined || hash === halfHashOf(tokens.id_token!, tokens.access_token)
}

/** The left half of the hash of a text, by the hash algorithm of the ID token. */
function halfHashOf(idToken: string, text: string): string {
  const algorithm = String(parseJsonSegment(idToken.split('.')[0]!)?.['alg'])
  const bits = /(256|384)$/.exec(algorithm)?.[1] ?? '512'
  const digest = createHash(`sha${bits}`).update(text).digest()
  return digest.subarray(0, digest.length / 2).toString('base64url')
}

/**
 * Maps the claims to a user of this service; `null` refuses the login.
 *
 * @param name the name of the provider.
 * @throws PARAPET_SESSIONS_UNAVAILABLE the application's lookup failed.
 */
export async function userOf(
  name: string,
  { roleClaim, roleMap = {}, findUser }: ProviderSettings,
  claims: IdTokenClaims,
): Promise<SessionUser | null> {
  const given = roleClaim === undefined ? [] : claims[roleClaim]
  const values: unknown[] = Array.isArray(given) ? given : [given]
  const roles = [...new Set(values.flatMap((value) => mapped(value, roleMap)))]
  if (findUser === undefined) return { id: `${name}:${claims.sub}`, roles }
  try {
    const found = await findUser({ provider: name, subject: claims.sub, claims, roles })
    return found === null || found === undefined ? null : requireUser(found)
  } catch (error) {
    throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
  }
}

function mapped(
  value: unknown,
  map: Readonly<Record<string, readonly string[]>>,
): readonly string[] {
  // Own members only: a group named `constructor` has no roles.
  return isName(value) && Object.hasOwn(map, value) ? map[value]! : []
}

/**
 * How and when the provider authenticated the user. The methods are those to which `trustedMethods` maps
 * the claims `amr` and `acr`, or `oidc` where it maps none: what a provider means by its values differs.
 */
export function proofOf(
  { amr, acr, auth_time: authTime }: IdTokenClaims,
  { trustedMethods }: ProviderSettings,
): LoginProof & { readonly amr: readonly string[] } {
  const authenticatedAt = Number(authTime) * 1000
  const isTime = Number.isSafeInteger(authenticatedAt) && authenticatedAt >= 0
  const { amr: byAmr = {}, acr: byAcr = {} } = trustedMethods ?? {}
  const values = isNameList(amr) && amr.length <= MAX_METHODS ? amr : []
  const methods = [...values.flatMap((value) => mapped(value, byAmr)), ...mapped(acr, byAcr)]
  return {
    amr: methods.length > 0 ? [...new Set(methods)] : ['oidc'],
    ...(methods.length > 0 && isName(acr) ? { acr } : undefined),
    ...(isTime ? { authenticatedAt } : undefined),
  }
}
