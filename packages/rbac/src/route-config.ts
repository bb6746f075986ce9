/** What a route writes under the key `rbac` of its config. */
import type { Permission } from './policy-types.ts'
import type { RuleTerm } from './rules.ts'

/** How a rule finds the resource its conditions look at. */
export interface RbacResource<Request> {
  /**
   * Loads the resource, once, after validation and before the handler; `request.rbac.resource` has
   * it then. `null` and `undefined`: there is none, and no condition on it holds.
   */
  readonly resource?: (request: Request) => unknown
  /** A refusal looks as if there were no such route, and so does a resource that is not there. */
  readonly hideAs?: 404
}

/** Who may call a route. */
export type RbacRule<Request = never> =
  | Permission
  | ({ readonly permission: Permission } & RbacResource<Request>)
  | ({ readonly any: readonly RuleTerm[] } & RbacResource<Request>)
  | ({ readonly all: readonly RuleTerm[] } & RbacResource<Request>)
  /** Everybody; the reason in words. */
  | { readonly public: string }
  /** Everybody who is signed in; the reason in words. */
  | { readonly authenticated: string }
