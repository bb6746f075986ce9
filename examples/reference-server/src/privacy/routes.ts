/** Processing that needs a consent. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { closedObject, problems, storedMembers } from '../http/schemas.ts'
import { createUsers } from '../users/repository.ts'

const partnerProfile = {
  operationId: 'getPartnerProfile',
  summary: 'Read what partners see of the own account; needs the consent data_sharing',
  tags: ['users'],
  response: {
    200: closedObject({ id: storedMembers.id, displayName: Type.String() }),
    ...problems,
  },
}

/** The routes below `/users/me`. */
export const partnerProfiles: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/me/partner-profile',
    {
      schema: partnerProfile,
      config: { rbac: { authenticated: 'own profile only' }, consent: 'data_sharing' },
    },
    async (request) => {
      const { id, displayName } = await createUsers(app.sql).find(request.principal!.id)
      return { id, displayName }
    },
  )
}
