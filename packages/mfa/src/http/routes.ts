/** Adds all routes of the plugin. */
import { acceptEmptyBody } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { addAccountRoutes } from './account-routes.ts'
import { addCodeRoutes } from './code-routes.ts'
import { addPasskeyLogin, addPasskeyRoutes } from './passkey-routes.ts'
import { createTools, type RouteParts } from './route-tools.ts'

/** Adds the routes to a context that has the prefix. */
export async function addRoutes(app: FastifyInstance, parts: RouteParts): Promise<void> {
  const tools = createTools(parts)
  // Responses carry secrets, codes and challenges, which must not be cached.
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })
  app.addHook('onRequest', acceptEmptyBody)
  if (parts.passkeys !== undefined) addPasskeyLogin(app, tools)
  await app.register(async (own) => {
    own.addHook('onRequest', async (request) => parts.principalOf.load(request))
    addAccountRoutes(own, tools)
    addCodeRoutes(own, tools)
    if (parts.passkeys !== undefined) addPasskeyRoutes(own, tools)
  })
}
