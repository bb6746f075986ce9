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
   * Return `null` if there is none; conditions on it are then unknown. The loader has the deadline
   * `factTimeoutMs`; after it, the request gets 503.
   */
  readonly resource?: (request: Request) => unknown
  /**
   * A refusal of a principal, and a resource that does not exist (`null`, or an error with the status
   * 404), get the reply of an unknown path. Without a principal the reply is 401 in both cases.
   */
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
