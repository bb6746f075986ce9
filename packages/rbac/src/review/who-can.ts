/** Finds out who has a permission. */
import type { Engine } from '../decide/engine.ts'
import { rightOf } from '../decide/rights.ts'

/** A role that has a permission. */
export interface Holder {
  readonly role: string
  /** `conditional`: conditions or deny rules decide. */
  readonly right: 'allow' | 'conditional'
  /** Ids of principals that have the role for a limited time, as far as this instance knows. */
  readonly granted: readonly string[]
}

/** Returns the roles that have a permission. @param grants the roles granted for a limited time. */
export function whoCan(
  engine: Engine,
  permission: number,
  grants: readonly { readonly principalId: string; readonly role: string }[],
): readonly Holder[] {
  return engine.model.roleNames.flatMap((role) => {
    const right = rightOf(engine.rightsOf({ id: '', roles: [role] }), permission)
    if (right === 'deny') return []
    const granted = grants.filter((grant) => grant.role === role)
    return [{ role, right, granted: granted.map(({ principalId }) => principalId) }]
  })
}
