// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const { mkdtempSync, rmSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const Fastify = require('fastify')
const { auditLog, PARAPET_AUDIT_LOG_UNAVAILABLE } = require('@parapet/audit-log')

async function main() {
  const directory = mkdtempSync(join(tmpdir(), 'audit-'))
  const app = Fastify()
  await app.register(auditLog, { origin: 'example.org/audit', directory })
  app.get('/', { config: { audit: 'thing.read' } }, async () => 'ok')
  assert.equal((await app.inject('/')).statusCode, 200)
  await app.audit.flush()
  const { entries } = await app.audit.query({ filters: { action: 'thing.read' } })
  assert.equal(entries.length, 1)
  assert.equal(new PARAPET_AUDIT_LOG_UNAVAILABLE().statusCode, 503)
  await app.close()

  // `require` returns a module; Fastify uses its default export.
  const other = Fastify()
  await other.register(require('@parapet/audit-log'), { origin: 'example.org/audit', directory })
  await other.close()
  rmSync(directory, { recursive: true })
}

main()
