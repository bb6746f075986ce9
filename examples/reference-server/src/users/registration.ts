/** `POST /users`: registration. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { hashPassword, requireAccepted } from '@parapet/sessions'
import { passwordPolicy } from '../access/password-policy.ts'
import { PARAPET_REFERENCE_EMAIL_TAKEN } from '../errors.ts'
import { registerUser } from './repository.ts'
import { userRoutes } from './schemas.ts'

const registration = {
  schema: userRoutes.create,
  config: { audit: 'user.register', rbac: { public: 'anyone may register' } },
} as const

const taken = {
  result: 'failure',
  errorCode: new PARAPET_REFERENCE_EMAIL_TAKEN().code,
} as const
const created = { changes: { before: {}, after: { roles: ['viewer'] } } } as const

/**
 * Registers the route. A taken address gets the same response after the same work as a free one (a hash,
 * a statement, the records, a job), so that a client cannot find out who has an account. The user logs in
 * after the address was verified by the link in a message.
 */
export const userRegistration: FastifyPluginAsyncTypebox = async (app) => {
  app.post('', registration, async (request, reply) => {
    const { email, displayName, password } = request.body
    await requireAccepted(passwordPolicy, password, { words: [email, displayName] })
    const passwordHash = await hashPassword(password)
    await app.sql.transaction(async (sql) => {
      const { id, isNew } = await registerUser(sql, { email, displayName, passwordHash })
      const type = isNew ? 'users.registered' : 'users.registration_repeated'
      const subject = { resourceType: 'user', resourceId: id, details: {} }
      app.securityEvents.emit(type, subject, request)
      const fields = { resource: 'user', resourceId: id, ...(isNew ? created : taken) }
      await request.audit('user.create', fields)
    })
    await app.sessions.account.signedUp(email)
    return reply.code(202).send({ accepted: true as const })
  })
}
