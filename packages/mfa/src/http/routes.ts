/** Adds all routes of the plugin. */
import type { FastifyInstance } from 'fastify'
import { addAccountRoutes } from './account-routes.ts'
import { addCodeRoutes } from './code-routes.ts'
import { addPasskeyRoutes } from './passkey-routes.ts'
import { createTools, type RouteParts } from './route-tools.ts'

/** Adds the routes to a context that has the prefix. */
export function addRoutes(app: FastifyInstance, parts: RouteParts): void {
  const tools = createTools(parts)
  // Responses carry secrets, codes and challenges, which must not be cached.
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store')
  })
  addAccountRoutes(app, tools)
  addCodeRoutes(app, tools)
  if (parts.hasPasskeys) addPasskeyRoutes(app, tools)
}
