/** What an ID token says, once its signature, issuer, audience, nonce and times are verified. */
import { createHash } from 'node:crypto'
import { PARAPET_SESSIONS_UNAVAILABLE } from './errors.ts'
import { parseJsonSegment } from './jws.ts'
import type { ProviderSettings } from './oidc.ts'
import { isName, isNameList, type LoginProof, type SessionUser } from './user.ts'

/** The claims of a verified ID token. */
export type IdTokenClaims = Readonly<Record<string, unknown>> & { readonly sub: string }

/** OpenID Connect Core 1.0, section 2: no subject is longer. */
const MAX_SUBJECT_LENGTH = 255
/** More methods than anybody uses for one login would only make the token too large. */
const MAX_METHODS = 10

/**
 * The checks that the library leaves to its user: whom the token was made for, where it says so, and
 * which access token it came with.
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
  return hash === undefined || hash === halfHash(tokens.id_token!, tokens.access_token)
}

/** The left half of a text's hash by the algorithm of the ID token. */
function halfHash(idToken: string, text: string): string {
  const algorithm = String(parseJsonSegment(idToken.split('.')[0]!)?.['alg'])
  const digest = createHash(`sha${/(256|384)$/.exec(algorithm)?.[1] ?? '512'}`)
    .update(text)
    .digest()
  return digest.subarray(0, digest.length / 2).toString('base64url')
}

/** Who the user is here; `null`: not to be let in. @throws PARAPET_SESSIONS_UNAVAILABLE */
export async function userOf(
  name: string,
  { roleClaim, roleMap = {}, findUser }: ProviderSettings,
  claims: IdTokenClaims,
): Promise<SessionUser | null> {
  const given = roleClaim === undefined ? [] : claims[roleClaim]
  const values: unknown[] = Array.isArray(given) ? given : [given]
  const roles = [...new Set(values.flatMap((value) => rolesFor(value, roleMap)))]
  if (findUser === undefined) return { id: `${name}:${claims.sub}`, roles }
  try {
    return await findUser({ provider: name, subject: claims.sub, claims, roles })
  } catch (error) {
    throw new PARAPET_SESSIONS_UNAVAILABLE({ cause: error })
  }
}

function rolesFor(
  value: unknown,
  roleMap: Readonly<Record<string, readonly string[]>>,
): readonly string[] {
  // Own members only: a group called `constructor` has no roles.
  return isName(value) && Object.hasOwn(roleMap, value) ? roleMap[value]! : []
}

/** How and when, in the provider's own words; it speaks for what it did, not for what we asked. */
export function proofOf({ amr, auth_time: authTime }: IdTokenClaims): LoginProof {
  const authenticatedAt = Number(authTime) * 1000
  return {
    amr: isNameList(amr) && amr.length > 0 && amr.length <= MAX_METHODS ? amr : ['oidc'],
    ...(Number.isSafeInteger(authenticatedAt) && authenticatedAt >= 0
      ? { authenticatedAt }
      : undefined),
  }
}
