/** Routes for the account as a whole: status, remembered devices, recovery and reset. */
import type { FastifyInstance } from 'fastify'
import { writeDeviceCookie } from '../devices/device-cookie.ts'
import { PARAPET_MFA_FORBIDDEN } from '../errors.ts'
import type { IdParams, RecoverBody, UserParams } from './request-schemas.ts'
import { routes } from './route-schemas.ts'
import type { RouteTools } from './route-tools.ts'

/** Adds the routes. */
export function addAccountRoutes(app: FastifyInstance, tools: RouteTools): void {
  const { mfa, requireCaller, requireSession, requireOwner, requireFresh, originOf } = tools
  const { adminRoles } = tools

  app.get('', routes.status, async (request) => {
    const { id } = requireSession(request)
    return { ...(await mfa.status(id)), devices: await mfa.devices.list(id) }
  })
  app.delete('/devices', routes.forgetDevices, async (request, reply) => {
    await mfa.devices.revoke(requireOwner(request).id, undefined, originOf(request))
    return reply.code(204).header('set-cookie', writeDeviceCookie('', 0)).send(null)
  })
  app.delete<{ Params: IdParams }>('/devices/:id', routes.forgetDevice, async (request, reply) => {
    await mfa.devices.revoke(requireOwner(request).id, request.params.id, originOf(request))
    return reply.code(204).send(null)
  })
  app.post<{ Body: RecoverBody }>('/recover', routes.recover, async (request, reply) => {
    await mfa.recover(requireOwner(request).id, request.body.codes, originOf(request))
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
