// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import auditLog, { auditLog as named, diff } from '@parapet/audit-log'
import Fastify from 'fastify'

assert.equal(auditLog, named)
const directory = mkdtempSync(join(tmpdir(), 'audit-'))
const app = Fastify()
await app.register(auditLog, { origin: 'example.org/audit', directory })
const receipt = await app.audit.record('thing.act', { changes: diff({ a: 1 }, { a: 2 }) })
await app.audit.flush()
const { leaf } = await app.audit.prove(receipt.id)
assert.match(leaf, /"path":"\/a"/)
await app.close()
rmSync(directory, { recursive: true })
