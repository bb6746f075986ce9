/** Whether a user has just authenticated: a stolen access token must not be enough to add a way to log in. */
import { PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED } from '../errors.ts'
import { callPort, type SecondFactor } from '../second-factor/second-factor.ts'
import type { AccessToken } from '../tokens/access-token.ts'
import type { RequestLike } from '../users/request-like.ts'

/** What {@link requireFreshLogin} needs. */
export interface FreshLoginSettings {
  /** `undefined`: no user has a second factor. */
  readonly secondFactor: SecondFactor | undefined
  readonly now: () => number
}

/** How long a login or a factor counts as fresh, in milliseconds. */
export const FRESH_MS = 300_000
/** Methods that are no second factor. */
const FIRST_METHODS: ReadonlySet<string> = new Set(['pwd', 'email', 'oidc', 'imp'])

/**
 * Requires a login of the last five minutes and, of a user with a second factor, that factor.
 *
 * @throws PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED
 */
export async function requireFreshLogin(
  { secondFactor, now }: FreshLoginSettings,
  token: AccessToken,
  request: RequestLike,
): Promise<void> {
  if (now() - token.authenticatedAt > FRESH_MS) throw freshFactorError()
  if (token.amr.some((method) => !FIRST_METHODS.has(method))) return
  if (await hasFactor(secondFactor, token, request)) throw freshFactorError()
}

/** Whether the user has a second factor. A remembered device saves a login the factor, but not a change of the account. */
export async function hasFactor(
  secondFactor: SecondFactor | undefined,
  { user, amr }: Pick<AccessToken, 'user' | 'amr'>,
  request: RequestLike,
): Promise<boolean> {
  if (secondFactor === undefined) return false
  const headers = { ...request.headers, cookie: undefined }
  const withoutDevice = Object.create(request, { headers: { value: headers } }) as RequestLike
  const circumstances = { request: withoutDevice, amr, setHeader: () => {} }
  return (await callPort(() => secondFactor.methodsOf(user.id, circumstances))).length > 0
}

/** @see RFC 9470, section 3 */
export function freshFactorError(): Error {
  const challenge = `Bearer error="insufficient_user_authentication", max_age="${FRESH_MS / 1000}"`
  const headers = { 'www-authenticate': challenge }
  return Object.assign(new PARAPET_SESSIONS_FRESH_FACTOR_REQUIRED(), { headers })
}
