/** Every error of this plugin. Each constant has the name of its code. */
import { createError } from '@fastify/error'

/**
 * Thrown at boot if an option is unknown, has the wrong type or is out of range. Fix: correct each
 * option that the message lists.
 */
export const PARAPET_RBAC_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_RBAC_INVALID_OPTION',
  'Invalid options for %s:\n%s',
)

/**
 * Thrown if a policy is malformed, uses a name that it does not declare or contradicts itself; nothing
 * is changed. Fix: correct each fault that the message lists.
 */
export const PARAPET_RBAC_INVALID_POLICY = createError<[faults: string]>(
  'PARAPET_RBAC_INVALID_POLICY',
  'Invalid policy; correct these faults:\n%s',
)

/**
 * Thrown at boot if the rule of a route is malformed or uses a permission that the policy does not
 * declare. Fix: write a permission, `{ any }`, `{ all }`, `{ permission }`, `{ authenticated }` or
 * `{ public }`, with declared permissions.
 */
export const PARAPET_RBAC_INVALID_RULE = createError<[route: string, problem: string]>(
  'PARAPET_RBAC_INVALID_RULE',
  'The rule in "config.rbac" of the route %s %s',
)

/**
 * Thrown at boot if routes have no rule; the message lists all of them. Fix: give each route a rule, or
 * name it in the option `routes`; `app.rbac.scaffold()` prints the table of all routes.
 */
export const PARAPET_RBAC_UNDECLARED_ROUTES = createError<[routes: string]>(
  'PARAPET_RBAC_UNDECLARED_ROUTES',
  "These routes have no rule. Give each one a rule, as in config: { rbac: 'content:read' } or { rbac: { public: 'reason' } }, or name it in the option \"routes\" (app.rbac.scaffold() prints that table):\n%s",
)

/**
 * Thrown at boot if routes are outside of the context in which rbac is registered, so that it does not
 * guard them. The usual cause is a plugin file without `fastify-plugin`. Fix: register rbac on the root,
 * or wrap the file in `fp`; if the routes need no guard, say why in the option `outside` and remove their
 * rules.
 */
export const PARAPET_RBAC_OUTSIDE_ROUTES = createError<[routes: string]>(
  'PARAPET_RBAC_OUTSIDE_ROUTES',
  'rbac is registered in a context of its own, so it does not guard these routes. Register it on the root, or wrap its file in fastify-plugin. If the routes need no guard, say why in the option "outside"; a route with a rule always needs one:\n%s',
)

/**
 * Thrown if a function is called with an argument outside its documented range. Fix: pass what the
 * message asks for.
 */
export const PARAPET_RBAC_INVALID_ARGUMENT = createError<[what: string, problem: string]>(
  'PARAPET_RBAC_INVALID_ARGUMENT',
  'Invalid argument: %s %s',
)

/**
 * Thrown if code uses a permission that the policy does not declare. Fix: declare the permission in the
 * policy, or correct its name.
 */
export const PARAPET_RBAC_UNKNOWN_PERMISSION = createError<[permission: string]>(
  'PARAPET_RBAC_UNKNOWN_PERMISSION',
  'The policy does not declare the permission "%s". Declare it, or correct the name.',
)

/**
 * Sent if a request has no principal but its route or a check requires one. Fix: authenticate; the
 * `WWW-Authenticate` header says how.
 */
export const PARAPET_RBAC_UNAUTHENTICATED = createError<[]>(
  'PARAPET_RBAC_UNAUTHENTICATED',
  'Authentication is required',
  401,
)

/**
 * Sent if the principal does not have the permission. Fix: call `app.rbac.explain` to see why, and grant
 * a role if the access is intended.
 */
export const PARAPET_RBAC_DENIED = createError<[]>(
  'PARAPET_RBAC_DENIED',
  'You do not have permission to do this',
  403,
)

/**
 * Thrown if another policy or grant was stored first; nothing is changed. Fix: read the current policy,
 * apply the change to it and try again.
 */
export const PARAPET_RBAC_CONFLICT = createError<[]>(
  'PARAPET_RBAC_CONFLICT',
  'The policy was changed by someone else in the meantime; read it again and retry',
  409,
)

/**
 * Thrown if a grant would give a principal more roles than a separation of duty allows. Fix: revoke one
 * of the other roles first.
 */
export const PARAPET_RBAC_SEPARATION_OF_DUTY = createError<[constraint: string]>(
  'PARAPET_RBAC_SEPARATION_OF_DUTY',
  'The separation of duty "%s" forbids this combination of roles; revoke one of them first',
  409,
)

/**
 * Sent if this instance has been out of contact with the policy store for longer than `maxStalenessMs`.
 * Fix: restore the connection to the policy store.
 */
export const PARAPET_RBAC_STALE = createError<[]>(
  'PARAPET_RBAC_STALE',
  'Access cannot be decided at the moment; try again later',
  503,
)

/**
 * Thrown if a table of the policy store in PostgreSQL lacks its only row. The instance keeps its last
 * policy for `maxStalenessMs`. Fix: restore the table from a backup.
 */
export const PARAPET_RBAC_DAMAGED_STORE = createError<[table: string]>(
  'PARAPET_RBAC_DAMAGED_STORE',
  'The table "%s" of the policy store must have exactly one row, but it has none; restore it from a backup',
  503,
)

/**
 * Thrown if the policy store has not answered a change within `maxStalenessMs`. The change may still be
 * stored later. Fix: restore the connection to the policy store, then read `app.rbac.revision` and
 * `app.rbac.policyDigest` before you try again.
 */
export const PARAPET_RBAC_OUTCOME_UNKNOWN = createError<[timeoutMs: number]>(
  'PARAPET_RBAC_OUTCOME_UNKNOWN',
  'The policy store did not answer within %d ms, so the change may or may not be stored. Read the revision and the policy before you try again',
  503,
)

/**
 * Sent if a request to an AuthZEN route is malformed. Fix: send a body that follows the schema in the
 * OpenAPI description.
 */
export const PARAPET_RBAC_MALFORMED_EVALUATION = createError<[problem: string]>(
  'PARAPET_RBAC_MALFORMED_EVALUATION',
  'Malformed evaluation request: %s',
  400,
)

/**
 * Thrown by `testMatrix` if the reply of a route differs from the matrix. Fix: check the hooks of each
 * route that the message lists, or give a URL that matches the route in the option `urls`.
 */
export const PARAPET_RBAC_MATRIX_MISMATCH = createError<[mismatches: string]>(
  'PARAPET_RBAC_MATRIX_MISMATCH',
  'The replies of these routes differ from the matrix:\n%s',
)

/**
 * Sent if an asynchronous `principal`, the `resource` of a rule or a lookup for AuthZEN takes longer
 * than `factTimeoutMs`. Fix: make the lookup faster, or raise `factTimeoutMs`.
 */
export const PARAPET_RBAC_LOOKUP_TIMEOUT = createError<[lookup: string, timeoutMs: number]>(
  'PARAPET_RBAC_LOOKUP_TIMEOUT',
  'The lookup "%s" took longer than %d ms; try again later',
  503,
)

/**
 * Thrown by `filter` if a fact decides which rows pass. A fact belongs to one resource, so rows cannot be
 * selected by it. Fix: use an attribute of the resource, or check each row with `authorize`.
 */
export const PARAPET_RBAC_FACT_IN_FILTER = createError<[permission: string, fact: string]>(
  'PARAPET_RBAC_FACT_IN_FILTER',
  'A filter for "%s" depends on the fact "%s", and rows cannot be selected by a fact. Use an attribute of the resource, or check each row with authorize()',
)

/**
 * Thrown by `matches` of a filter if a relation decides and was not looked up. Fix: use `loadFilter`, or the
 * filter's `sql`.
 */
export const PARAPET_RBAC_RELATION_IN_FILTER = createError<[relation: string]>(
  'PARAPET_RBAC_RELATION_IN_FILTER',
  'The filter depends on the relation "%s", which was not looked up. Use await loadFilter(), or the sql() of this filter',
)

/**
 * Thrown by lists and `loadFilter` if the walk from a principal through a relation visits more objects than
 * `maxVisited`, or more than 64 levels of loads; the statement of a `filter` then fails in PostgreSQL, with this
 * code in its message. Also thrown if the walks of one page, whose resources are decided one by one, together visit
 * more than ten times `maxVisited`. Fix: raise `maxVisited` of `createPostgresRelations`, `createRelations` or
 * `createMemoryRelations`, or set the option `resources`: a list then decides each resource of its pages; ask for
 * smaller pages.
 */
export const PARAPET_RBAC_TOO_MANY_RELATIONS = createError<[relation: string, limit: string]>(
  'PARAPET_RBAC_TOO_MANY_RELATIONS',
  'The relation "%s" leads to more than %s. Raise "maxVisited" of the relations if these are objects, or list smaller pages with the option "resources"',
)

/**
 * Thrown by `app.rbac.relate` if the policy does not declare a relation, or does not allow the subject in
 * its `direct`. Fix: declare it under `relations`, or correct the tuple.
 */
export const PARAPET_RBAC_UNDECLARED_RELATION = createError<[tuple: string]>(
  'PARAPET_RBAC_UNDECLARED_RELATION',
  'The policy does not declare the relation %s',
  400,
)

/**
 * Thrown by `app.rbac.list` if nothing lists the resources of a type. Fix: set the option `resources`.
 */
export const PARAPET_RBAC_NO_LISTER = createError<[type: string]>(
  'PARAPET_RBAC_NO_LISTER',
  'The resources of the type "%s" cannot be listed. Set the option "resources" with a function for this type',
)

/**
 * Thrown if a grant would exceed a limit of the member `assignment` of the policy, or lacks a role that
 * it requires. Fix: revoke another grant, or grant the required role first.
 */
export const PARAPET_RBAC_ASSIGNMENT_LIMIT = createError<[role: string, problem: string]>(
  'PARAPET_RBAC_ASSIGNMENT_LIMIT',
  'The role "%s" cannot be granted: it %s',
  409,
)

/**
 * Thrown if the acting principal may not grant or revoke a role, according to `delegation` of the policy.
 * Fix: let a principal act whose role lists the role under `delegation`.
 */
export const PARAPET_RBAC_NOT_DELEGATED = createError<[role: string]>(
  'PARAPET_RBAC_NOT_DELEGATED',
  'You may not grant or revoke the role "%s"',
  403,
)

/**
 * Thrown if a grant would last longer than the right of the acting principal to grant the role: that right
 * comes from a role for a limited time. Fix: choose an earlier `until`, or let another principal act.
 */
export const PARAPET_RBAC_GRANT_TOO_LONG = createError<[role: string, limit: string]>(
  'PARAPET_RBAC_GRANT_TOO_LONG',
  'You may grant the role "%s" only until %s, when your own right to grant it ends',
  403,
)

/**
 * Thrown at boot if the policy store has another policy than the option `policy`, and `onDifference` is
 * `fail`. Fix: publish the policy of this version, or correct the option.
 */
export const PARAPET_RBAC_POLICY_DIFFERS = createError<[changes: string]>(
  'PARAPET_RBAC_POLICY_DIFFERS',
  'The option "policy" is not in force, because the policy store has another policy. Publish it, or set "onDifference". It would change:\n%s',
)

/**
 * Thrown at boot and by `publish` if the lint finds mistakes in a policy. Fix: correct each mistake that
 * the message lists, or accept it for a time in the option `waivers`.
 */
export const PARAPET_RBAC_POLICY_LINT = createError<[findings: string]>(
  'PARAPET_RBAC_POLICY_LINT',
  'The policy has mistakes; correct them or list them in the option "waivers":\n%s',
)
