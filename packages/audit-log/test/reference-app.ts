/** Registers the plugin with all its routes, so that the reference page can list them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { auditLog } from '@parapet/audit-log'
import type { FastifyInstance } from 'fastify'

/** Uses a temporary folder, no network and no database. */
export default async function register(app: FastifyInstance): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'parapet-audit-reference-'))
  app.addHook('onClose', () => rm(directory, { recursive: true, force: true }))
  await app.register(auditLog, { origin: 'example.org/audit', directory })
  await app.register(app.audit.routes, { prefix: '/audit', guard: () => true })
}
