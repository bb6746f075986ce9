/** A policy whose names have been resolved to numbers: the input of the engine and explanations. */
import type { Node } from '../conditions/nodes.ts'
import { hasBit, mergeBits, wordsFor } from './bit-set.ts'
import type { PolicyDocument } from './policy-types.ts'

/** A grant that applies while its condition is true. */
export interface ConditionalGrant {
  readonly role: number
  /** As written in the policy; may be a wildcard. */
  readonly grant: string
  readonly permissions: readonly number[]
  readonly node: Node
}

/** A deny rule. */
export interface DenyRule {
  readonly id: string
  readonly permissions: readonly number[]
  readonly roles: readonly number[] | null
  readonly node: Node | null
}

/** A static separation of duty. */
interface Duty {
  readonly id: string
  readonly roles: readonly number[]
  readonly max: number
}

/** A valid policy in resolved form. */
export interface PolicyModel {
  readonly policy: PolicyDocument
  readonly permissionIds: ReadonlyMap<string, number>
  readonly roleIds: ReadonlyMap<string, number>
  readonly roleNames: readonly string[]
  /** All roles; inherited roles come before those that inherit them. */
  readonly order: readonly number[]
  readonly parents: readonly (readonly number[])[]
  /** By role: its own unconditional grants, without inherited ones. */
  readonly grants: readonly (readonly number[])[]
  readonly conditionals: readonly ConditionalGrant[]
  readonly denies: readonly DenyRule[]
  readonly duties: readonly Duty[]
  /** By role: the bit set of the role and all roles it inherits, `closureWords` words each. */
  readonly closure: Uint32Array
  readonly closureWords: number
}

/** Returns the separation of duty that a set of roles violates. `roles` includes inherited roles. */
export function violatedDuty(model: PolicyModel, roles: Uint32Array): Duty | undefined {
  return model.duties.find(
    (duty) => duty.roles.filter((role) => hasBit(roles, role)).length > duty.max,
  )
}

/** Whether a grant or a scope, which may be a wildcard, covers a permission. */
export function covers(grant: string, permission: string): boolean {
  return (
    grant === '*' ||
    grant === permission ||
    (grant.endsWith(':*') && permission.startsWith(grant.slice(0, -1)))
  )
}

/** Returns the bit set of the roles and all roles they inherit. */
export function closureOf(model: PolicyModel, roles: readonly string[]): Uint32Array {
  const closure = new Uint32Array(wordsFor(model.roleNames.length))
  for (const name of roles) {
    const role = model.roleIds.get(name)
    if (role !== undefined) mergeBits(closure, model.closure, role * model.closureWords)
  }
  return closure
}
