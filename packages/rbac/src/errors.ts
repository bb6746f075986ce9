/** Every error of this plugin. The constant, the code and the row in the README carry one name. */
import { createError } from '@fastify/error'

/** An option is unknown, mistyped or out of range; the message lists every fault found. */
export const PARAPET_RBAC_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_RBAC_INVALID_OPTION',
  '%s refuses its options:\n%s',
)

/** A policy names what it does not declare, or contradicts itself; the message lists every fault. */
export const PARAPET_RBAC_INVALID_POLICY = createError<[faults: string]>(
  'PARAPET_RBAC_INVALID_POLICY',
  'The policy is refused:\n%s',
)

/** A route carries a rule that cannot be read, or that names an unknown permission. */
export const PARAPET_RBAC_INVALID_RULE = createError<[route: string, problem: string]>(
  'PARAPET_RBAC_INVALID_RULE',
  'The rule "rbac" of the route %s %s',
)

/** Routes say nothing of who may call them; the message lists all of them. */
export const PARAPET_RBAC_UNDECLARED_ROUTES = createError<[routes: string]>(
  'PARAPET_RBAC_UNDECLARED_ROUTES',
  "These routes say nothing of who may call them; give each a rule, as in config: { rbac: 'content:read' } or { rbac: { public: 'reason' } }, or name it in the option \"routes\":\n%s",
)

/** A function was called with a value outside its documented range. */
export const PARAPET_RBAC_INVALID_ARGUMENT = createError<[what: string, problem: string]>(
  'PARAPET_RBAC_INVALID_ARGUMENT',
  '%s %s',
)

/** Code asks for a permission that the policy does not declare. */
export const PARAPET_RBAC_UNKNOWN_PERMISSION = createError<[permission: string]>(
  'PARAPET_RBAC_UNKNOWN_PERMISSION',
  'The policy declares no permission "%s"',
)

/** Nobody is signed in, and the route or the check needs someone. */
export const PARAPET_RBAC_UNAUTHENTICATED = createError<[]>(
  'PARAPET_RBAC_UNAUTHENTICATED',
  'Sign in first',
  401,
)

/** The caller may not do this. */
export const PARAPET_RBAC_DENIED = createError<[]>(
  'PARAPET_RBAC_DENIED',
  'You are not allowed to do this',
  403,
)

/** A new policy or a grant was refused because another one was published meanwhile. */
export const PARAPET_RBAC_CONFLICT = createError<[]>(
  'PARAPET_RBAC_CONFLICT',
  'The policy has changed meanwhile; look at the new one and try again',
  409,
)

/** A grant would give one principal roles that the policy keeps apart. */
export const PARAPET_RBAC_SEPARATION_OF_DUTY = createError<[constraint: string]>(
  'PARAPET_RBAC_SEPARATION_OF_DUTY',
  'The constraint "%s" keeps these roles apart',
  409,
)

/** This instance has not reached the policy store for too long, so it allows nothing. */
export const PARAPET_RBAC_STALE = createError<[]>(
  'PARAPET_RBAC_STALE',
  'Access cannot be decided at the moment',
  503,
)

/** A request to the AuthZEN routes cannot be read. */
export const PARAPET_RBAC_MALFORMED_EVALUATION = createError<[problem: string]>(
  'PARAPET_RBAC_MALFORMED_EVALUATION',
  'The evaluation request is malformed: %s',
  400,
)

/** A route answered otherwise than the matrix promises; thrown by `testMatrix` in tests. */
export const PARAPET_RBAC_MATRIX_MISMATCH = createError<[mismatches: string]>(
  'PARAPET_RBAC_MATRIX_MISMATCH',
  'The routes do not keep what the matrix says:\n%s',
)
