/** Checks a principal that application code passes. */
import type { Principal } from '@parapet/kit'
import { PARAPET_RBAC_INVALID_ARGUMENT } from '../errors.ts'

/** @param what names the argument in the error. @throws PARAPET_RBAC_INVALID_ARGUMENT */
export function requirePrincipal(value: unknown, what: string): Principal {
  const isObject = typeof value === 'object' && value !== null
  const { id, roles } = (isObject ? value : {}) as {
    readonly id?: unknown
    readonly roles?: unknown
  }
  if (typeof id === 'string' && Array.isArray(roles)) return value as Principal
  const got = isObject ? 'an object without a string "id" or an array "roles"' : `a ${typeof value}`
  const problem = `must be a principal such as { id: 'ann', roles: [] }, got ${got}`
  throw new PARAPET_RBAC_INVALID_ARGUMENT(what, problem)
}
