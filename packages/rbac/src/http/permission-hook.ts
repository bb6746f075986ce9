/** The hook that `app.rbac.requirePermission` returns. */
import type { FastifyRequest, preHandlerAsyncHookHandler, RouteOptions } from 'fastify'
import type { Permission } from '../policy/policy-types.ts'

const kPermission = Symbol('@parapet/rbac:permission')
/** The hooks of a route in which the permission hook can be used. */
const HOOKS = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const

/** Creates a hook that rejects if the principal does not have the permission. */
export function createPermissionHook(permission: Permission): preHandlerAsyncHookHandler {
  const hook = async (request: FastifyRequest): Promise<void> => {
    await request.rbac.authorize(permission, request.rbac.resource)
  }
  return Object.assign(hook, { [kPermission]: permission })
}

/** Returns the permission of the first such hook of a route. A route that has one needs no rule. */
export function permissionOf(route: RouteOptions): string | undefined {
  const hooks = HOOKS.flatMap((name) => route[name] ?? []) as { [kPermission]?: string }[]
  return hooks.find((hook) => kPermission in hook)?.[kPermission]
}
