/** The user of a session, how the user logged in, and the checks of both. */
import { PARAPET_SESSIONS_INVALID_ARGUMENT } from '../errors.ts'
import { describeValue } from './describe-value.ts'
import { isName, isNameList, isUserId } from './names.ts'

/** A user as the application knows them. */
export interface SessionUser {
  /** Stable and unique, 1 to 300 characters. Do not use an e-mail address: it may change its owner. */
  readonly id: string
  /** At most 256 names of 1 to 128 characters. */
  readonly roles: readonly string[]
  /** Permissions granted in addition to the roles. At most 256 names. */
  readonly permissions?: readonly string[]
  readonly tenantId?: string
}

/** How and when a user authenticated. */
export interface LoginProof {
  /** The methods, at least one. @default ['pwd'] @see RFC 8176 */
  readonly amr?: readonly string[]
  /** The level that was reached: 1 to 128 characters. @default none @see RFC 9470 */
  readonly acr?: string
  /** Milliseconds since the Unix epoch. A time in the future is replaced by now. @default now */
  readonly authenticatedAt?: number
}

/**
 * The time of a login of which nobody has proved when it was: so long ago that nothing takes it for fresh.
 * `undefined` would be read as now.
 */
export const UNPROVED_AT = 0

/** How and when the user of a session authenticated. */
export interface SessionProof {
  readonly amr: readonly string[]
  readonly authenticatedAt: number
  readonly acr?: string
}

/** Where a session started; shown to the user in the list of sessions. */
export interface Device {
  readonly ip?: string
  /** At most 200 characters. */
  readonly userAgent?: string
  /** Approximately, as the option `placeOf` says it. */
  readonly place?: string
}

/**
 * Checks a user and returns a copy of the known members.
 *
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT
 */
export function requireUser(user: SessionUser): SessionUser {
  const { id, roles, permissions, tenantId } = user
  if (!isUserId(id)) refuse('user.id', 'a string of 1 to 300 characters', id)
  if (!isNameList(roles)) refuse('user.roles', LIST_OF_NAMES, roles)
  if (permissions !== undefined && !isNameList(permissions)) {
    refuse('user.permissions', LIST_OF_NAMES, permissions)
  }
  if (tenantId !== undefined && !isName(tenantId)) {
    refuse('user.tenantId', 'a string of 1 to 128 characters', tenantId)
  }
  return {
    id,
    roles: [...roles],
    ...(permissions === undefined ? undefined : { permissions: [...permissions] }),
    ...(tenantId === undefined ? undefined : { tenantId }),
  }
}

/** Checks the id of a user. @throws PARAPET_SESSIONS_INVALID_ARGUMENT */
export function requireUserId(id: string): string {
  if (!isUserId(id)) refuse('userId', 'a string of 1 to 300 characters', id)
  return id
}

/** Checks a proof and fills in the defaults. @throws PARAPET_SESSIONS_INVALID_ARGUMENT */
export function requireProof(
  { amr = ['pwd'], acr, authenticatedAt }: LoginProof,
  now: number,
): SessionProof {
  if (!isNameList(amr) || amr.length === 0) refuse('proof.amr', `a non-empty ${LIST_OF_NAMES}`, amr)
  if (acr !== undefined && !isName(acr)) {
    refuse('proof.acr', 'a string of 1 to 128 characters', acr)
  }
  const at = authenticatedAt ?? now
  if (!Number.isSafeInteger(at) || at < 0) {
    refuse('proof.authenticatedAt', 'milliseconds since the Unix epoch', at)
  }
  // A provider's clock may be ahead. A time in the future would count as fresh for too long.
  return {
    amr: [...amr],
    authenticatedAt: Math.min(at, now),
    ...(acr === undefined ? undefined : { acr }),
  }
}

const LIST_OF_NAMES = 'array of at most 256 strings of 1 to 128 characters'

function refuse(name: string, expected: string, value: unknown): never {
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT(name, expected, describeValue(value))
}
