/** Starts the plugin on the folder in its argument, adds a record, and prints what that took. */
import { auditLog } from '@parapet/audit-log'
import Fastify from 'fastify'

const started = performance.now()
const app = Fastify()
await app.register(auditLog, { origin: 'example.org/audit', directory: process.argv[2]! })
await app.ready()
const startMs = Math.round(performance.now() - started)
await app.audit.record('thing.act', {})
await app.audit.flush()
const { size } = await app.audit.status()
// The most that was ever in memory, the compiler of the tests included.
const rssBytes = process.resourceUsage().maxRSS * 1024
process.stdout.write(JSON.stringify({ startMs, rssBytes, size }))
await app.close()
