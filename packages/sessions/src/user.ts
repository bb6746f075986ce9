/** Who logs in: the shape that every login hands over, checked once. */
import { PARAPET_SESSIONS_INVALID_ARGUMENT } from './errors.ts'

/** A user as the application knows them. */
export interface SessionUser {
  /** Stable and unique, 1 to 300 characters; never an e-mail address that may pass to someone else. */
  readonly id: string
  readonly roles: readonly string[]
  /** Permissions granted beside the roles. */
  readonly permissions?: readonly string[]
  readonly tenantId?: string
}

/** How and when a user proved who they are. */
export interface LoginProof {
  /** @default ['pwd'] @see RFC 8176 */
  readonly amr?: readonly string[]
  /** Milliseconds since the Unix epoch. @default now */
  readonly authenticatedAt?: number
}

/** Where a login came from, as the owner of the session will read it. */
export interface Device {
  readonly ip?: string
  /** Cut to 200 characters. */
  readonly userAgent?: string
}

const MAX_ID_LENGTH = 300
const MAX_NAME_LENGTH = 128
const MAX_NAMES = 256

/** Whether a value can be a user's id. */
export function isUserId(value: unknown): value is string {
  return isName(value, MAX_ID_LENGTH)
}

/** Whether a value is a list of role names or the like. */
export function isNameList(value: unknown): value is readonly string[] {
  return (
    Array.isArray(value) &&
    value.length <= MAX_NAMES &&
    value.every((name) => isName(name, MAX_NAME_LENGTH))
  )
}

/** Whether a value is one name. A zero is none in SQL. */
export function isName(value: unknown, max = MAX_NAME_LENGTH): value is string {
  if (typeof value !== 'string' || value === '' || value.length > max) return false
  return value.isWellFormed() && !value.includes('\0')
}

/**
 * Checks a user that a login handed over and returns a copy of the known members.
 *
 * @throws PARAPET_SESSIONS_INVALID_ARGUMENT
 */
export function requireUser(user: SessionUser): SessionUser {
  const { id, roles, permissions, tenantId } = user
  if (!isUserId(id)) refuse('id', 'must be a string of 1 to 300 characters')
  if (!isNameList(roles)) refuse('roles', 'must be an array of names')
  if (permissions !== undefined && !isNameList(permissions)) {
    refuse('permissions', 'must be an array of names')
  }
  if (tenantId !== undefined && !isName(tenantId)) refuse('tenantId', 'must be a name')
  return {
    id,
    roles: [...roles],
    ...(permissions === undefined ? undefined : { permissions: [...permissions] }),
    ...(tenantId === undefined ? undefined : { tenantId }),
  }
}

/** Checks what says how a login was proved. @throws PARAPET_SESSIONS_INVALID_ARGUMENT */
export function requireProof(
  { amr = ['pwd'], authenticatedAt }: LoginProof,
  now: number,
): Required<LoginProof> {
  if (!isNameList(amr) || amr.length === 0) refuse('amr', 'must name at least one method')
  const at = authenticatedAt ?? now
  if (!Number.isSafeInteger(at) || at < 0)
    refuse('authenticatedAt', 'must be a time in milliseconds')
  // A provider's clock may be ahead of ours; a proof of the future would stay fresh too long.
  return { amr: [...amr], authenticatedAt: Math.min(at, now) }
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_SESSIONS_INVALID_ARGUMENT(`"${what}" of the user`, problem)
}
