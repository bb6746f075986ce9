/** Registers the plugin with every route it has, for the generated reference page. */
import { fromMap, rbac } from '@parapet/rbac'
import type { FastifyInstance } from 'fastify'

/** Registers the plugin. It needs no network and no database. */
export default async function register(app: FastifyInstance): Promise<void> {
  await app.register(rbac, {
    policy: fromMap({ 'decisions:request': ['service'] }),
    authzen: {
      subject: () => null,
      rule: 'decisions:request',
      baseUrl: 'https://pdp.example.com',
    },
  })
}
