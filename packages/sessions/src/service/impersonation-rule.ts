/** Who may act as whom. */
import { callPort } from '../second-factor/second-factor.ts'
import type { MayImpersonate } from '../users/ports.ts'
import type { SessionUser } from '../users/user.ts'

/**
 * Asks the application. Without an answer of its own, a user is within reach whose tenant is the same and whose
 * roles and permissions the operator has, too: names are all that is known here of what a role may do.
 */
export function createImpersonationRule(
  allows: MayImpersonate = hasAllOf,
): (operator: SessionUser, user: SessionUser) => Promise<boolean> {
  return (operator, user) =>
    callPort(
      async () => allows(operator, user),
      (answer) => (answer as unknown) === true,
    )
}

function hasAllOf(operator: SessionUser, user: SessionUser): boolean {
  const { roles, permissions = [], tenantId } = operator
  return (
    user.tenantId === tenantId &&
    user.roles.every((role) => roles.includes(role)) &&
    (user.permissions ?? []).every((permission) => permissions.includes(permission))
  )
}
