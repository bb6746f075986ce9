/** `/docs`: Swagger UI over the same description as `/openapi.json`. */
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** Swagger UI declares none for its own routes. What they send is public, so nothing is left out of it. */
const response = {
  200: {
    description: 'A page, a file or the description',
    type: ['object', 'string'],
    additionalProperties: true,
  },
}

async function documentationPlugin(app: FastifyInstance): Promise<void> {
  await app.register(async (child) => {
    child.addHook('onRoute', (route) => {
      route.schema = { ...route.schema, response }
    })
    await child.register(swaggerUi, {
      routePrefix: '/docs',
      // Deep links show a route; the page keeps no token when it is reloaded.
      uiConfig: { deepLinking: true, persistAuthorization: false, docExpansion: 'none' },
      theme: { title: 'Parapet reference server' },
    })
  })
}

/** Register it after the description and the plugins; its pages have the preset `docs`. */
export const documentation = fp(documentationPlugin, { name: 'documentation', fastify: '5.x' })
