/** Registers the plugin for the generated reference page. The plugin adds no routes of its own. */
import { exportKeyset, fieldEncryption, generateKeyset } from '@parapet/field-encryption'
import type { FastifyInstance } from 'fastify'

export default async function register(app: FastifyInstance): Promise<void> {
  await app.register(fieldEncryption, { keyset: exportKeyset(generateKeyset()) })
}
