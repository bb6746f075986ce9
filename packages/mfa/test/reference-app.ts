/** Registers the plugin with every route it can add, for the generated reference page. */
import { generateCipherKey } from '@parapet/kit'
import { mfa } from '@parapet/mfa'
import type { FastifyInstance } from 'fastify'

/** Registers the plugin; no network and no database are used. */
export default async function register(app: FastifyInstance): Promise<void> {
  await app.register(mfa, {
    issuer: 'Acme',
    keys: generateCipherKey(),
    passkeys: { rpId: 'example.org', origins: ['https://example.org'] },
    signIn: async () => ({}),
  })
}
