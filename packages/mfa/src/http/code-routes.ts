/** Routes of authenticator apps and backup codes. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { writeDeviceCookie } from '../devices/device-cookie.ts'
import type { CodeVerified } from '../factors/code-attempt.ts'
import type { MfaProof } from '../proofs/proof.ts'
import type { ConfirmBody, VerifyBody } from './request-schemas.ts'
import { routes } from './route-schemas.ts'
import type { RouteTools } from './route-tools.ts'

/** Adds the routes. */
export function addCodeRoutes(app: FastifyInstance, tools: RouteTools): void {
  const { mfa, requireOwner, requireManager, originOf } = tools

  app.post('/totp', routes.beginTotp, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    return reply.code(201).send(await mfa.totp.begin({ id, name: await tools.nameOf(request) }))
  })
  app.post<{ Body: ConfirmBody }>('/totp/confirm', routes.confirmTotp, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    const { ticket, code } = request.body
    const confirmed = await mfa.totp.confirm(id, ticket, code, originOf(request))
    return toEnrolled(tools, request, reply, confirmed)
  })
  app.delete('/totp', routes.removeTotp, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    await mfa.totp.remove(id, originOf(request))
    return reply.code(204).send(null)
  })
  app.post<{ Body: VerifyBody }>('/verify', routes.verify, async (request, reply) => {
    const { id } = requireOwner(request)
    const { code, rememberDevice = false } = request.body
    const { proof, ...rest } = await mfa.verify(id, code, originOf(request))
    const view = await tools.assure(request, reply, proof)
    if (rememberDevice && proof.aal >= 2) await remember(tools, request, reply, proof)
    return { ...view, ...rest }
  })
  app.post('/backup-codes', routes.replaceBackupCodes, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    const backupCodes = await mfa.backupCodes.replace(id, originOf(request))
    return reply.code(201).send({ backupCodes })
  })
}

/** Sets the cookie of a remembered device. */
async function remember(
  { mfa, originOf, deviceMaxAgeSeconds }: RouteTools,
  request: FastifyRequest,
  reply: FastifyReply,
  proof: MfaProof,
): Promise<void> {
  if (deviceMaxAgeSeconds === 0) return
  const agent = request.headers['user-agent'] ?? ''
  const secret = await mfa.devices.remember(proof.userId, agent, originOf(request), proof)
  reply.header('set-cookie', writeDeviceCookie(secret, deviceMaxAgeSeconds))
}

/** The response to an enrolment. It has succeeded, even where its proof does not lift the session. */
async function toEnrolled(
  tools: RouteTools,
  request: FastifyRequest,
  reply: FastifyReply,
  { proof, ...rest }: CodeVerified,
) {
  const { method, aal, amr, provedAt } = proof
  if (aal < 2) return { method, aal, amr, provedAt, ...rest }
  return { ...(await tools.assure(request, reply, proof)), ...rest }
}
