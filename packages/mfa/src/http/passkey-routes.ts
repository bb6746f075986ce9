/** Routes of passkeys: enrolment, verification and login. */
import type { FastifyInstance } from 'fastify'
import type { AnswerBody, IdParams, NameBody, RegisterBody } from './request-schemas.ts'
import { routes } from './route-schemas.ts'
import type { RouteTools } from './route-tools.ts'

/** Adds the routes of callers who are logged in. */
export function addPasskeyRoutes(app: FastifyInstance, tools: RouteTools): void {
  addManagement(app, tools)
  addVerification(app, tools)
}

function addManagement(app: FastifyInstance, tools: RouteTools): void {
  const { mfa, requireManager, originOf } = tools

  app.post('/passkeys/options', routes.beginPasskey, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    return mfa.passkeys.registrationOptions({ id, name: await tools.nameOf(request) })
  })
  app.post<{ Body: RegisterBody }>('/passkeys', routes.addPasskey, async (request, reply) => {
    const { id } = await requireManager(request, reply)
    const { response, name } = request.body
    return reply.code(201).send(await mfa.passkeys.register(id, response, name, originOf(request)))
  })
  app.patch<{ Params: IdParams; Body: NameBody }>(
    '/passkeys/:id',
    routes.renamePasskey,
    async (request, reply) => {
      const { id } = await requireManager(request, reply)
      await mfa.passkeys.rename(id, request.params.id, request.body.name)
      return reply.code(204).send(null)
    },
  )
  app.delete<{ Params: IdParams }>(
    '/passkeys/:id',
    routes.revokePasskey,
    async (request, reply) => {
      const { id } = await requireManager(request, reply)
      await mfa.passkeys.revoke(id, request.params.id, originOf(request))
      return reply.code(204).send(null)
    },
  )
}

function addVerification(app: FastifyInstance, tools: RouteTools): void {
  const { mfa, requireOwner, originOf } = tools

  app.post('/passkeys/verify/options', routes.beginProof, (request) =>
    mfa.passkeys.assertionOptions(requireOwner(request).id),
  )
  app.post<{ Body: AnswerBody }>(
    '/passkeys/verify',
    routes.provePasskey,
    async (request, reply) => {
      const { id } = requireOwner(request)
      const proof = await mfa.passkeys.verify(id, request.body.response, originOf(request))
      return tools.assure(request, reply, proof)
    },
  )
}

/** Adds the routes of the login, if the option `signIn` is set. */
export function addPasskeyLogin(app: FastifyInstance, { mfa, callPort, signIn }: RouteTools): void {
  if (signIn === undefined) return
  app.post('/passkeys/login/options', routes.beginLogin, () => mfa.passkeys.assertionOptions(null))
  app.post<{ Body: AnswerBody }>('/passkeys/login', routes.login, async (request, reply) => {
    const { ip } = request
    const proof = await mfa.passkeys.verify(null, request.body.response, { ip, request })
    return callPort('signIn', () => signIn(proof, request, reply))
  })
}
