/** Helpers for the tests of this package. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { auditLog, type AuditLogOptions, type PemKey } from '@parapet/audit-log'
import { createLocalCipher } from '@parapet/kit'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { parseVerifierKey } from '../src/log/signed-note.ts'
import { DirectoryStore } from '../src/directory/store.ts'
import type { LogStore } from '../src/log/log-store.ts'
import type { VerifyReport } from '../src/verify/report.ts'
import { verifyLog } from '../src/verify/verify-log.ts'

export const ORIGIN = 'example.org/audit'

/** A temporary folder; it is removed after the test. */
export function useFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'parapet-audit-'))
  t.after(async () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  return folder
}

/** Keys for personal and hashed values. */
export function createKeys() {
  return {
    hashKey: randomBytes(32),
    cipher: createLocalCipher([{ id: 1, secret: randomBytes(32) }]),
  }
}

/** An app with the plugin; it is closed after the test. */
export async function createApp(
  t: Test,
  options: Partial<AuditLogOptions> = {},
  server: FastifyServerOptions = {},
): Promise<FastifyInstance & { folder: string }> {
  const folder = typeof options.directory === 'string' ? options.directory : useFolder(t)
  const app = Fastify(server) as FastifyInstance
  t.after(() => app.close())
  await app.register(auditLog, { origin: ORIGIN, ...options, directory: folder })
  return Object.assign(app, { folder })
}

/** The signing key of another app, for an instance of the same log. */
export function keyOf(app: FastifyInstance): PemKey {
  return { file: join(app.audit.parts.folder, 'key.pem') }
}

/** All records of the log, oldest first. */
export async function recordsOf(app: FastifyInstance) {
  await app.audit.flush()
  const state = await app.audit.parts.store.state()
  const entries = await app.audit.parts.store.entries(0, state?.size ?? 0)
  return entries.map(({ leaf }) => JSON.parse(leaf) as Record<string, unknown>)
}

/** Verifies a store with the key of the app. */
export function verify(
  store: LogStore,
  verifierKey: string,
  pinned?: string,
): Promise<VerifyReport> {
  const key = parseVerifierKey(verifierKey)
  return verifyLog({
    store,
    keys: key === undefined ? [] : [key],
    now: () => performance.now(),
    ...(pinned === undefined ? undefined : { pinned }),
  })
}

/** The log of a folder, opened read-only. */
export function openFolder(folder: string): LogStore {
  return new DirectoryStore(join(folder, 'log'))
}

/** The findings of a report as `kind index`: `edited 3`. */
export function named(report: VerifyReport): string[] {
  return report.findings.map(({ kind, index }) => (index === undefined ? kind : `${kind} ${index}`))
}
