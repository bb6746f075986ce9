/** Adds all routes of the plugin. */
import { acceptEmptyBody } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { addOfficerRoutes } from './officer-routes.ts'
import { addAnswerRoute, addOpenRoutes } from './open-routes.ts'
import { forbidCaching, type RouteParts } from './route-tools.ts'
import { addSubjectRoutes } from './subject-routes.ts'

/** Adds the routes to a context that has the prefix. */
export async function addRoutes(app: FastifyInstance, parts: RouteParts): Promise<void> {
  forbidCaching(app)
  app.addHook('onRequest', acceptEmptyBody)
  addOpenRoutes(app, parts)
  if (parts.context.settings.processors.length > 0) {
    await app.register(async (signed) => addAnswerRoute(signed, parts))
  }
  await app.register(async (own) => {
    own.addHook('onRequest', async (request) => parts.principalOf.load(request))
    addSubjectRoutes(own, parts)
  })
  await app.register(
    async (officers) => {
      officers.addHook('onRequest', async (request) => parts.principalOf.load(request))
      addOfficerRoutes(officers, parts)
    },
    { prefix: '/admin' },
  )
}
