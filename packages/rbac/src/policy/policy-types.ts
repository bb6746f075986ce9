/** The types of a policy: the form that an author writes and the form that is stored. */
import type { AttributeSchema, AttributeValue } from '../attributes/attributes.ts'
import type { Condition, Ref } from '../conditions/condition.ts'
import type { RelationDocument, RelationsDocument } from '../relations/relation-plan.ts'
import type { environmentAttributes, subjectAttributes } from '../conditions/context.ts'

/** A role as it is stored. */
export interface RoleDocument {
  readonly inherits: readonly string[]
  /** Permissions or wildcards (`content:*`, `*`). */
  readonly grants: readonly string[]
  /** Grants that apply while their condition is true. */
  readonly when: Readonly<Record<string, Condition>>
}

/** A deny rule as it is stored. It overrides every grant. */
export interface DenyDocument {
  readonly id: string
  readonly permissions: readonly string[]
  /** The roles that it applies to; `null`: all principals. */
  readonly roles: readonly string[] | null
  /** `null`: it always applies. Otherwise it applies unless the condition is false. */
  readonly when: Condition | null
}

/** A static separation of duty as it is stored. */
export interface DutyDocument {
  readonly id: string
  readonly roles: readonly string[]
  /** The number of these roles that one principal may hold. */
  readonly max: number
}

/** Limits of assignments as they are stored. `app.rbac.grant` enforces them. */
export interface AssignmentDocument {
  /** The number of roles that one principal may hold; `null`: no limit. */
  readonly maxRoles: number | null
  /** By role: the number of principals that may hold it for a limited time at once. */
  readonly maxHolders: Readonly<Record<string, number>>
  /** By role: roles that a principal must hold before it can get the role. */
  readonly requires: Readonly<Record<string, readonly string[]>>
}

/** A policy as JSON data with every default filled in. @see docs/spec/rbac-policy.md */
export interface PolicyDocument {
  readonly version: 1
  readonly permissions: readonly string[]
  /** Attributes by resource type. A permission belongs to the type before its first colon. */
  readonly resources: Readonly<Record<string, AttributeSchema>>
  readonly subject: AttributeSchema
  readonly environment: AttributeSchema
  readonly facts: AttributeSchema
  readonly roles: Readonly<Record<string, RoleDocument>>
  readonly deny: readonly DenyDocument[]
  readonly sod: readonly DutyDocument[]
  /** By resource type: fields that need a permission of their own to be read. */
  readonly fields: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Absent if there are no limits. */
  readonly assignment?: AssignmentDocument
  /** By type of object: its relations. Absent if there are none. */
  readonly relations?: RelationsDocument
  /** By role: the roles that it may grant and revoke. Absent: the application decides that. */
  readonly delegation?: Readonly<Record<string, readonly string[]>>
}

/** A {@link PolicyDocument} whose permissions and roles are known to the compiler. */
export interface Policy<
  P extends string = string,
  R extends string = string,
> extends PolicyDocument {
  readonly permissions: readonly P[]
  readonly roles: Readonly<Record<R, RoleDocument>>
}

/** `content:write` → `content`. */
export type ResourceOf<P extends string> = P extends `${infer Type}:${string}` ? Type : never

type Prefixes<P extends string> = P extends `${infer Head}:${infer Rest}`
  ? Head | `${Head}:${Prefixes<Rest>}`
  : never

/** A permission, or a wildcard that covers permissions. */
export type Grant<P extends string> = P | '*' | `${Prefixes<P>}:*`

type Refs<S> = { readonly [K in keyof S]: Ref<AttributeValue<S[K]>> }

/** The attributes that a policy declares. */
export interface Attributes {
  readonly resources: Readonly<Record<string, AttributeSchema>>
  readonly subject: AttributeSchema
  readonly environment: AttributeSchema
  readonly facts: AttributeSchema
}

/** The attributes of any of several resource types. At boot, each must exist in all of them. */
type AnyRefs<S> = { readonly [K in KeysOf<S>]: Ref<AttributeValue<TypeOf<S, K>>> }
type KeysOf<S> = S extends unknown ? keyof S : never
type TypeOf<S, K> = S extends unknown ? (K extends keyof S ? S[K] : never) : never

/** The attributes that a condition on the permission or wildcard `G` can use. */
export interface Scope<G extends string, A extends Attributes> {
  readonly subject: Refs<typeof subjectAttributes & A['subject']>
  readonly resource: AnyRefs<
    A['resources'][(G extends '*' ? string : ResourceOf<G>) & keyof A['resources']]
  >
  readonly environment: Refs<typeof environmentAttributes & A['environment']>
  readonly fact: Refs<A['facts']>
}

/** A condition, or a function that builds one from typed attributes. The function runs once. */
export type ConditionSource<G extends string, A extends Attributes> =
  | Condition
  | ((scope: Scope<G, A>) => Condition)

/** A role as an author writes it. */
export interface RoleSource<P extends string, R extends string, A extends Attributes> {
  /** Roles whose grants this role has as well. @default none */
  readonly inherits?: readonly R[]
  /** Permissions and wildcards. @default none */
  readonly grants?: readonly Grant<P>[]
  /** Grants under a condition. @default none */
  readonly when?: { readonly [G in Grant<P>]?: ConditionSource<G, A> }
}

/** A deny rule as an author writes it. */
export interface DenySource<P extends string, R extends string, A extends Attributes> {
  /** Identifies the rule in explanations and events. */
  readonly id: string
  readonly permissions: readonly Grant<P>[]
  /** The roles that it applies to. @default all principals */
  readonly roles?: readonly R[]
  /** It applies unless this is false. @default it always applies */
  readonly when?: ConditionSource<'*', A>
}

/** A static separation of duty as an author writes it. */
export interface DutySource<R extends string> {
  readonly id: string
  /** At least two roles. */
  readonly roles: readonly R[]
  /** The number of these roles that one principal may hold, at least 1. @default 1 */
  readonly max?: number
}

/** A policy as an author writes it. */
export interface PolicySource<P extends string, R extends string, A extends Attributes> {
  /** Every permission of the application, as `content:write`. */
  readonly permissions: readonly P[]
  /** Attributes by resource type. @default none */
  readonly resources?: A['resources']
  /** Attributes of the subject in addition to those of a principal. @default none */
  readonly subject?: A['subject']
  /** Attributes of the environment in addition to `time` and `ip`. @default none */
  readonly environment?: A['environment']
  /** Facts that the application looks up, possibly asynchronously. @default none */
  readonly facts?: A['facts']
  readonly roles: { readonly [K in R]: RoleSource<NoInfer<P>, NoInfer<R>, NoInfer<A>> }
  /** @default none */
  readonly deny?: readonly DenySource<NoInfer<P>, NoInfer<R>, NoInfer<A>>[]
  /** @default none */
  readonly sod?: readonly DutySource<NoInfer<R>>[]
  /** By resource type: fields that need a permission of their own to be read. @default none */
  readonly fields?: Readonly<Record<string, Readonly<Record<string, NoInfer<P>>>>>
  /** Limits that `app.rbac.grant` enforces. @default none */
  readonly assignment?: {
    /** The number of roles that one principal may hold, at least 1. @default no limit */
    readonly maxRoles?: number
    /** By role: the number of principals that may hold it for a limited time at once. @default none */
    readonly maxHolders?: { readonly [K in NoInfer<R>]?: number }
    /** By role: roles that a principal must hold before it can get the role. @default none */
    readonly requires?: { readonly [K in NoInfer<R>]?: readonly NoInfer<R>[] }
  }
  /**
   * By type of object: its relations, and who has them. `direct` lists subjects that tuples may name:
   * `user`, `user:*`, `group#member`, or a type such as `folder`. `includes` lists relations that imply it:
   * `editor`, or `parent.viewer`. @default none
   */
  readonly relations?: Readonly<Record<string, Readonly<Record<string, Partial<RelationDocument>>>>>
  /** By role: the roles that it may grant and revoke. @default the application decides that */
  readonly delegation?: { readonly [K in NoInfer<R>]?: readonly NoInfer<R>[] }
}

/**
 * Registers the policy of an application, so that the compiler checks permissions and roles everywhere:
 *
 * ```ts
 * declare module '@parapet/rbac' {
 *   interface Register { policy: typeof policy }
 * }
 * ```
 */
// oxlint-disable-next-line typescript/no-empty-object-type -- the application augments it
export interface Register {}

type Registered = Register extends { readonly policy: infer X extends Policy } ? X : Policy

/** A permission of the registered policy, or any string if none is registered. */
export type Permission = Registered['permissions'][number]

/** A role of the registered policy, or any string if none is registered. */
export type Role = Extract<keyof Registered['roles'], string>
