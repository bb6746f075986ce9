/**
 * Verifies the logout tokens of a provider.
 *
 * @see OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6
 */
import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import type { Configuration } from 'openid-client'
import { PARAPET_SESSIONS_LOGOUT_REFUSED, PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import { isName } from '../users/names.ts'
import type { ProviderLogout } from '../users/session-origin.ts'
import { allowInsecureProvider, type ProviderSettings } from './provider.ts'

/** What a logout token says. */
export interface LogoutToken extends ProviderLogout {
  /** The id of the token. */
  readonly tokenId: string
}

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
/** Asymmetric ones only: a secret that is shared with the provider signs nothing here. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512']
const CURVES = ['EdDSA', 'Ed25519']
const MAX_TOKEN_LENGTH = 8192
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/
const MAX_TEXT = 255
/** How old a token may be; the tolerance is for clocks that differ. */
export const MAX_AGE_SECONDS = 300
const TOLERANCE_SECONDS = 30
const TIMEOUT_MS = 5000
/** A withdrawn key is refused after this time. New keys are loaded at once, but not more often. */
const KEYS_MS = 30_000

/** Loads the keys of a provider, and again where a token names an unknown one. */
export async function loadLogoutKeys(
  provider: ProviderSettings,
  configuration: Configuration,
): Promise<JWTVerifyGetKey> {
  const { createRemoteJWKSet } = await import('jose')
  const { jwks_uri: uri } = configuration.serverMetadata()
  const url = URL.canParse(uri ?? '') ? new URL(uri!) : null
  if (url === null || (url.protocol !== 'https:' && !provider[allowInsecureProvider])) {
    throw new PARAPET_SESSIONS_UNAVAILABLE()
  }
  const settings = { timeoutDuration: TIMEOUT_MS, cooldownDuration: KEYS_MS, cacheMaxAge: KEYS_MS }
  return createRemoteJWKSet(url, settings)
}

/**
 * Verifies a logout token.
 *
 * @throws PARAPET_SESSIONS_LOGOUT_REFUSED, PARAPET_SESSIONS_UNAVAILABLE
 */
export async function verifyLogoutToken(
  name: string,
  { clientId }: ProviderSettings,
  issuer: string,
  keys: JWTVerifyGetKey,
  token: string,
  now: number,
): Promise<LogoutToken> {
  const { jwtVerify, errors } = await import('jose')
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      issuer,
      audience: clientId,
      algorithms: [...ALGORITHMS, ...CURVES],
      requiredClaims: ['iat', 'exp', 'jti', 'events'],
      maxTokenAge: MAX_AGE_SECONDS,
      clockTolerance: TOLERANCE_SECONDS,
      currentDate: new Date(now),
    })
    const { typ = 'logout+jwt' } = protectedHeader
    const logout = /^(application\/)?(logout\+)?jwt$/i.test(typ) ? readLogout(name, payload) : null
    if (logout !== null) return logout
  } catch (error) {
    const isRefused = error instanceof errors.JOSEError && !KEY_FAULTS.has(error.code)
    const Refusal = isRefused ? PARAPET_SESSIONS_LOGOUT_REFUSED : PARAPET_SESSIONS_UNAVAILABLE
    throw new Refusal({ cause: error })
  }
  throw new PARAPET_SESSIONS_LOGOUT_REFUSED()
}

/**
 * The codes of the library for keys that do not load or cannot be read: faults of the provider, which may
 * send the same token again. The generic code is that of an answer without 200 or JSON.
 */
const KEY_FAULTS: ReadonlySet<string> = new Set([
  'ERR_JOSE_GENERIC',
  'ERR_JWKS_TIMEOUT',
  'ERR_JWKS_INVALID',
  'ERR_JWK_INVALID',
])

/** Whether a text has the form of a JWT. Any other is refused before the provider is asked for anything. */
export function looksLikeJwt(token: string | null): token is string {
  return token !== null && token.length <= MAX_TOKEN_LENGTH && JWT.test(token)
}

/** `null`: it is no logout token, for instance an ID token. */
function readLogout(provider: string, payload: JWTPayload): LogoutToken | null {
  const { sub: subject = null, jti, events, iat } = payload
  const { sid = null } = payload
  if ('nonce' in payload || !isObject(events) || !Object.hasOwn(events, EVENT)) return null
  if (!isObject((events as Record<string, unknown>)[EVENT])) return null
  if (subject !== null && !isName(subject, MAX_TEXT)) return null
  if (sid !== null && !isName(sid, MAX_TEXT)) return null
  if ((subject === null && sid === null) || !isName(jti, MAX_TEXT)) return null
  return { provider, subject, sid, issuedAt: iat!, tokenId: jti }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
