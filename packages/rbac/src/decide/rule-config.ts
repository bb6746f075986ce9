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

/** Who may call a route. */
export type RbacRule<Request = never> =
  | Permission
  | ({ readonly permission: Permission } & RbacResource<Request>)
  | ({ readonly any: readonly RuleTerm[] } & RbacResource<Request>)
  | ({ readonly all: readonly RuleTerm[] } & RbacResource<Request>)
  /** Every caller; the text is the reason. */
  | { readonly public: string }
  /** Every authenticated caller; the text is the reason. */
  | { readonly authenticated: string }
