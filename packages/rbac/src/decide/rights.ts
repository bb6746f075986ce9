/** The rights of a set of roles: which permissions it has always, under conditions or never. */
import type { Evaluate } from '../conditions/compile-condition.ts'
import type { Node, RelatedNode } from '../conditions/nodes.ts'
import { hasBit } from '../policy/bit-set.ts'

/** `conditional`: conditions or deny rules decide. */
export type Right = 'allow' | 'conditional' | 'deny'

/** A compiled condition of the policy and the permissions it belongs to. */
export interface CompiledCondition {
  readonly permissions: ReadonlySet<number>
  readonly evaluate: Evaluate
  /** The names of the facts that it reads. */
  readonly facts: readonly string[]
  /** The relations that it tests. */
  readonly related: readonly RelatedNode[]
  readonly node: Node
}

/** What decides one conditional permission. */
export interface ConditionalRule {
  /** The permission is granted without a condition; a deny rule may still apply. */
  readonly isGranted: boolean
  readonly grants: readonly CompiledCondition[]
  readonly denies: readonly CompiledCondition[]
  /** The names of the facts that its conditions read. */
  readonly facts: readonly string[]
  /** The relations that its conditions test. */
  readonly related: readonly RelatedNode[]
}

/** The rights of a set of roles and permissions. Principals with the same set share one object. */
export interface Rights {
  /** Permissions that are allowed whatever the conditions are. */
  readonly allowed: Uint32Array
  /** Permissions that are allowed under conditions. */
  readonly conditional: Uint32Array
  /** The roles, with inherited ones. */
  readonly roles: Uint32Array
  /** The permissions of the principal itself. */
  readonly permissions: readonly number[]
  /** What the scopes of the credential cover; `undefined`: no ceiling. */
  readonly ceiling: Uint32Array | undefined
  /** Whether scopes limit the credential to some permissions. */
  readonly isScoped: boolean
  /** The separation of duty that the roles violate. If it is set, nothing is allowed. */
  readonly violatedDuty: string | undefined
  /** Cache of `Engine.ruleOf`, by permission. */
  readonly rules: Map<number, ConditionalRule>
}

/** Whether a permission is allowed whatever the conditions are. This is the whole fast path. */
export function isAllowed(rights: Rights, permission: number): boolean {
  return (rights.allowed[permission >>> 5]! & (1 << (permission & 31))) !== 0
}

/** Whether conditions decide a permission. */
export function isConditional(rights: Rights, permission: number): boolean {
  return hasBit(rights.conditional, permission)
}

/** Returns what roles alone decide about a permission. */
export function rightOf(rights: Rights, permission: number): Right {
  if (isAllowed(rights, permission)) return 'allow'
  return isConditional(rights, permission) ? 'conditional' : 'deny'
}
