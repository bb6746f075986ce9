/** Registers the plugin with every route it can add, for the generated reference page. */
import { generateCipherKey } from '@parapet/kit'
import { privacy } from '@parapet/privacy'
import type { FastifyInstance } from 'fastify'

/** Registers the plugin; no network and no database are used. */
export default async function register(app: FastifyInstance): Promise<void> {
  await app.register(privacy, {
    controller: { name: 'Acme', contact: 'privacy@example.org' },
    secret: Buffer.alloc(32).toString('base64url'),
    keys: generateCipherKey(),
    deliver: async () => undefined,
    processors: [{ name: 'crm', url: 'https://crm.example', secret: 'x'.repeat(32) }],
  })
}
