/** The routes: what a user does with factors, and what an administrator may. */
import type { FastifyInstance } from 'fastify'
import { writeDeviceCookie } from './cookie.ts'
import { addCodeRoutes } from './code-routes.ts'
import { PARAPET_MFA_FORBIDDEN } from './errors.ts'
import { addPasskeyRoutes } from './passkey-routes.ts'
import { routes, type IdParams, type RecoverBody, type UserParams } from './schemas.ts'
import { createTools, type RouteParts, type RouteTools } from './shared-routes.ts'

/** Adds the routes to a context that has its prefix. */
export function addRoutes(app: FastifyInstance, parts: RouteParts): void {
  const tools = createTools(parts)
  // Secrets, codes and challenges: none of it belongs in a cache.
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })
  addAccountRoutes(app, tools)
  addCodeRoutes(app, tools)
  if (parts.hasPasskeys) addPasskeyRoutes(app, tools)
}

function addAccountRoutes(app: FastifyInstance, tools: RouteTools): void {
  const { mfa, requireCaller, requireFresh, originOf, adminRoles } = tools

  app.get('', routes.status, async (request) => {
    const { id } = requireCaller(request)
    return { ...(await mfa.status(id)), devices: await mfa.devices.list(id) }
  })
  app.delete('/devices', routes.forgetDevices, async (request, reply) => {
    await mfa.devices.revoke(requireCaller(request).id, undefined, originOf(request))
    return reply.code(204).header('set-cookie', writeDeviceCookie('', 0)).send(null)
  })
  app.delete<{ Params: IdParams }>('/devices/:id', routes.forgetDevice, async (request, reply) => {
    await mfa.devices.revoke(requireCaller(request).id, request.params.id, originOf(request))
    return reply.code(204).send(null)
  })
  app.post<{ Body: RecoverBody }>('/recover', routes.recover, async (request, reply) => {
    await mfa.recover(requireCaller(request).id, request.body.codes, originOf(request))
    return reply.code(204).send(null)
  })
  app.delete<{ Params: UserParams }>('/users/:id', routes.resetUser, async (request, reply) => {
    const caller = requireCaller(request)
    if (!caller.roles.some((role) => adminRoles.includes(role))) throw new PARAPET_MFA_FORBIDDEN()
    await requireFresh(request, reply)
    await mfa.reset(request.params.id, caller.id, originOf(request))
    return reply.code(204).send(null)
  })
}
