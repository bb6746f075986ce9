/** What handlers see of the decisions of a request. */
import type { Permission } from '../policy/policy-types.ts'
import type { Filter } from './filter.ts'

/** The interface of `request.rbac`. Each call decides anew, so a socket can ask for each message. */
export interface RequestRbac {
  /** The resource that the rule of the route has loaded; otherwise `undefined`. */
  readonly resource: unknown
  /**
   * Whether the principal has a permission. Facts and relations are unknown here: if a permission depends
   * on one, use {@link RequestRbac.authorize}.
   *
   * @param resource the resource that conditions read. Without it, conditions on it are unknown.
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   */
  can(permission: Permission, resource?: unknown): boolean
  /**
   * As {@link RequestRbac.can}, with facts and relations looked up. Unlike {@link RequestRbac.authorize}, it
   * emits no event: for replies that only show more or less.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   */
  check(permission: Permission, resource?: unknown): Promise<boolean>
  /**
   * Resolves if the principal has a permission, and rejects otherwise.
   *
   * @throws PARAPET_RBAC_UNAUTHENTICATED if the request has no principal.
   * @throws PARAPET_RBAC_DENIED
   * @throws PARAPET_RBAC_STALE
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   */
  authorize(permission: Permission, resource?: unknown): Promise<void>
  /**
   * Returns the rule that rows of the resource type must satisfy now. Do not keep it.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   * @throws PARAPET_RBAC_FACT_IN_FILTER if a fact decides.
   */
  filter(permission: Permission): Filter
  /**
   * As {@link RequestRbac.filter}, with relations looked up: they become lists of ids, so that the filter
   * works in every database and its `matches` decides every row.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   * @throws PARAPET_RBAC_FACT_IN_FILTER
   * @throws PARAPET_RBAC_TOO_MANY_RELATIONS if a relation leads the principal to more objects than
   *   `maxVisited` of the relations.
   * @throws PARAPET_RBAC_LOOKUP_TIMEOUT
   */
  loadFilter(permission: Permission): Promise<Filter>
  /**
   * Returns a copy of a record without the fields that the principal may not read. If the permission
   * itself is refused, the copy is empty.
   *
   * @throws PARAPET_RBAC_UNKNOWN_PERMISSION
   * @throws PARAPET_RBAC_INVALID_ARGUMENT if it is not one record; mask the members of a list one by one.
   */
  mask<T extends object>(permission: Permission, record: T): Partial<T>
}
