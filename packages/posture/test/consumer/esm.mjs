// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { checkPosture, renderJunit, renderSarif, renderTable } from '@parapet/posture'
import Fastify from 'fastify'

const app = Fastify({ bodyLimit: 100 * 1024 * 1024 })
app.post('/notes', async (request) => request.body)
const report = await checkPosture(app, { environment: {} })
assert.equal(report.ok, false)
assert.match(renderTable(report), /VAL-05/)
assert.equal(JSON.parse(renderSarif(report)).version, '2.1.0')
assert.match(renderJunit(report), /<testsuites /)
await app.close()

const help = execFileSync(process.execPath, ['node_modules/@parapet/posture/dist/cli.js', '--help'])
assert.match(help.toString(), /--update-baseline/)
