/** What a route declares under the key `rbac` of its config. */
import type { Permission } from '../policy/policy-types.ts'

/** A permission, or a combination of permissions. */
export type RuleTerm<P extends string = Permission> =
  | P
  | { readonly any: readonly RuleTerm<P>[] }
  | { readonly all: readonly RuleTerm<P>[] }

/** The resource that the conditions of a rule read. */
export interface RbacResource<Request> {
  /**
   * Loads the resource once, after validation and before the handler, into `request.rbac.resource`.
   * `null` and `undefined` mean that it does not exist; conditions on it are then unknown.
   */
  readonly resource?: (request: Request) => unknown
  /** A refusal, and a resource that does not exist, get the reply of an unknown path. */
  readonly hideAs?: 404
}

type Kind = 'permission' | 'any' | 'all' | 'public' | 'authenticated'

/** Members of other kinds of rules are excluded by name, because Fastify's types allow further ones. */
type Only<K extends Kind | 'resource' | 'hideAs'> = {
  readonly [Other in Exclude<Kind | 'resource' | 'hideAs', K>]?: never
}

type Loading = 'resource' | 'hideAs'

/** Who may call a route. */
export type RbacRule<Request = never> =
  | Permission
  | ({ readonly permission: Permission } & RbacResource<Request> & Only<'permission' | Loading>)
  | ({ readonly any: readonly RuleTerm[] } & RbacResource<Request> & Only<'any' | Loading>)
  | ({ readonly all: readonly RuleTerm[] } & RbacResource<Request> & Only<'all' | Loading>)
  /** Every authenticated caller; the text is the reason. */
  | ({ readonly authenticated: string } & Only<'authenticated'>)
  /** Every caller; the text is the reason. */
  | ({ readonly public: string } & Only<'public'>)
