/** Reads an ID token whose signature, issuer, audience, nonce and times are verified. */
import { createHash } from 'node:crypto'
import { withDeadline, type Clock } from '@parapet/kit'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { parseJsonSegment } from '../tokens/parse-jws.ts'
import type { SessionOrigin } from '../users/session-origin.ts'
import { isName, isNameList } from '../users/names.ts'
import { requireUser, UNPROVED_AT, type SessionProof, type SessionUser } from '../users/user.ts'
import { isPromptEnough } from './authorization-request.ts'
import type { ProviderSettings } from './provider.ts'

/** A login that succeeded. */
interface FinishedLogin {
  readonly purpose: 'login'
  readonly user: SessionUser
  /** Whether a link says that it is this user. */
  readonly isLinked: boolean
  readonly proof: SessionProof
  /** Whether the provider is trusted to have checked a second factor. */
  readonly isMultiFactor: boolean
  readonly origin: SessionOrigin
  /** A path of this service. */
  readonly returnTo: string
  /** The session of the browser when the login began. */
  readonly formerSessionId: string | null
}

/** A user showed an identity for a session that had begun the visit. */
export interface ShownIdentity {
  readonly purpose: 'link' | 'step-up'
  readonly sessionId: string
  readonly origin: SessionOrigin
  /** Those to which `trustedMethods` maps; there may be none. */
  readonly methods: readonly string[]
  /** The level, where levels were asked for and `trustedMethods` maps to methods. */
  readonly acr: string | undefined
  /** Milliseconds since the Unix epoch. */
  readonly authenticatedAt: number
  /** A path of this service. */
  readonly returnTo: string
}

/** How a visit to a provider ended. */
export type FinishedVisit = FinishedLogin | ShownIdentity

/** The claims of a verified ID token. */
export type IdTokenClaims = Readonly<Record<string, unknown>> & { readonly sub: string }

/** OpenID Connect Core 1.0, section 2. */
const MAX_SUBJECT_LENGTH = 255
/** A longer list would only make the access token too large. */
const MAX_METHODS = 10

/** How long the application's lookup of a user may take, in milliseconds. */
const LOOKUP_DEADLINE_MS = 10_000
const late = (): Error => new PARAPET_SESSIONS_UNAVAILABLE()

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
  clock: Clock,
): Promise<SessionUser | null> {
  const given = roleClaim === undefined ? [] : claims[roleClaim]
  const values: unknown[] = Array.isArray(given) ? given : [given]
  const roles = [...new Set(values.flatMap((value) => mapped(value, roleMap)))]
  if (findUser === undefined) return { id: `${name}:${claims.sub}`, roles }
  try {
    const profile = { provider: name, subject: claims.sub, claims, roles }
    const found = await withDeadline(findUser(profile), LOOKUP_DEADLINE_MS, late, clock)
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

/** The claims that another claim calls verified. @see OpenID Connect Core 1.0, section 5.1 */
const VERIFIABLE = ['email', 'phone_number']

/**
 * The claims of the ID token over those of the userinfo endpoint. `email_verified` is about the address
 * that came with it, so it never joins the address of the other source.
 */
export function joinClaims(
  claims: IdTokenClaims,
  userinfo: Readonly<Record<string, unknown>>,
): IdTokenClaims {
  const joined: Record<string, unknown> & { sub: string } = { ...userinfo, ...claims }
  for (const name of VERIFIABLE) {
    const mark = `${name}_verified`
    const isOwn = Object.hasOwn(claims, name)
    const hasBoth = isOwn && claims[name] === userinfo[name]
    joined[mark] = hasBoth ? joined[mark] : (isOwn ? claims : userinfo)[mark]
    if (joined[mark] === undefined) delete joined[mark]
  }
  return joined
}

/**
 * How and when the provider authenticated the user. The methods are those to which `trustedMethods` maps
 * the claims `amr` and `acr`, or `oidc` where it maps none: what a provider means by its values differs.
 *
 * Only `auth_time` proves when it was. Without it, the provider may have answered from a session of any age,
 * also where it was asked with `prompt=login`: that is in a URL, which the user can change.
 *
 * @param startedAt when the visit began: with {@link isPromptEnough} the user authenticated after it.
 * @see OpenID Connect Core 1.0, sections 2 and 3.1.2.1
 */
export function proofOf(
  claims: IdTokenClaims,
  provider: ProviderSettings,
  startedAt: number,
): SessionProof {
  const { acr, auth_time: authTime } = claims
  const authenticatedAt = Number(authTime) * 1000
  const isTime = Number.isSafeInteger(authenticatedAt) && authenticatedAt >= 0
  const methods = trustedMethodsOf(claims, provider)
  const isPrompted = authTime === undefined && isPromptEnough(provider)
  const unsaid = isPrompted ? startedAt : UNPROVED_AT
  return {
    amr: methods.length > 0 ? methods : ['oidc'],
    ...(methods.length > 0 && isName(acr) ? { acr } : undefined),
    authenticatedAt: isTime ? authenticatedAt : unsaid,
  }
}

/** The methods to which the claims `amr` and `acr` are mapped. */
export function trustedMethodsOf(
  { amr, acr }: IdTokenClaims,
  { trustedMethods }: ProviderSettings,
): readonly string[] {
  const { amr: byAmr = {}, acr: byAcr = {} } = trustedMethods ?? {}
  const values = isNameList(amr) && amr.length <= MAX_METHODS ? amr : []
  return [...new Set([...values.flatMap((value) => mapped(value, byAmr)), ...mapped(acr, byAcr)])]
}

/** The session of the provider from which a login came. */
export function originOf(provider: string, { sub, sid, iat }: IdTokenClaims): SessionOrigin {
  const session = isName(sid, MAX_SUBJECT_LENGTH) ? sid : null
  return { provider, subject: sub, sid: session, issuedAt: Number(iat) }
}
