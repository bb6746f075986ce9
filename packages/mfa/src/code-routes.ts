/** The routes of authenticator apps and backup codes. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { CodeVerified } from './attempts.ts'
import { writeDeviceCookie } from './cookie.ts'
import type { MfaProof } from './proof.ts'
import { routes, type ConfirmBody, type VerifyBody } from './schemas.ts'
import type { RouteTools } from './shared-routes.ts'

/** Adds them to the context of the others. */
export function addCodeRoutes(app: FastifyInstance, tools: RouteTools): void {
  const { mfa, requireCaller, requireManager, originOf } = tools

  app.post('/totp', routes.beginTotp, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    return reply.code(201).send(await mfa.totp.begin({ id, name: tools.accountName(request) }))
  })
  app.post<{ Body: ConfirmBody }>('/totp/confirm', routes.confirmTotp, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    const { ticket, code } = request.body
    return answer(request, await mfa.totp.confirm(id, ticket, code, originOf(request)))
  })
  app.delete('/totp', routes.removeTotp, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    await mfa.totp.remove(id, originOf(request))
    return reply.code(204).send(null)
  })
  app.post<{ Body: VerifyBody }>('/verify', routes.verify, async (request, reply) => {
    const { id } = requireCaller(request)
    const { code, rememberDevice = false } = request.body
    const verified = await mfa.verify(id, code, originOf(request))
    if (rememberDevice && verified.proof.aal >= 2) await remember(request, reply, verified.proof)
    return answer(request, verified)
  })
  app.post('/backup-codes', routes.replaceBackupCodes, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    const backupCodes = await mfa.backupCodes.replace(id, originOf(request))
    return reply.code(201).send({ backupCodes })
  })

  async function remember(
    request: FastifyRequest,
    reply: FastifyReply,
    proof: MfaProof,
  ): Promise<void> {
    if (tools.deviceMaxAgeSeconds === 0) return
    const agent = request.headers['user-agent'] ?? ''
    const secret = await mfa.devices.remember(proof.userId, agent, originOf(request), proof)
    reply.header('set-cookie', writeDeviceCookie(secret, tools.deviceMaxAgeSeconds))
  }

  async function answer(request: FastifyRequest, { proof, ...rest }: CodeVerified) {
    return { ...(await tools.assure(request, proof)), ...rest }
  }
}
