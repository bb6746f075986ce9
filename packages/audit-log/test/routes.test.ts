import { problemErrorHandler } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { parseCheckpoint } from '../src/log/checkpoint.ts'
import { verifyConsistency, verifyInclusion } from '../src/log/merkle-proofs.ts'
import { leafHash } from '../src/log/merkle-tree.ts'
import { openNote, parseVerifierKey } from '../src/log/signed-note.ts'
import { createApp, recordsOf } from './support.ts'

/** An app whose audit routes accept the header `x-test: auditor`, and a client that sends it. */
async function createServed(t: Test) {
  const app = await createApp(t)
  app.setErrorHandler(problemErrorHandler)
  await app.register(app.audit.routes, {
    prefix: '/audit',
    guard: (request) => request.headers['x-test'] === 'auditor',
  })
  const headers = { 'x-test': 'auditor' }
  return { app, get: (url: string) => app.inject({ url, headers }) }
}

/** 300 records with resource ids that look like formulas. */
async function recordUsers(app: FastifyInstance): Promise<void> {
  for (let i = 0; i < 300; i++) void app.audit.record('user.create', { resourceId: `=cmd|${i}` })
  await app.audit.flush()
}

const UNKNOWN_ID = '01a20026-2924-7330-9e4d-e7baa57fdd59'
const codeOf = (reply: { json(): unknown }) => (reply.json() as { code: string }).code

await t.test('the routes cannot be registered without a guard', async (t) => {
  const app = await createApp(t)
  await t.rejects(
    async () => {
      await app.register(app.audit.routes, { prefix: '/open' } as never)
    },
    { code: 'PARAPET_AUDIT_LOG_NOT_GUARDED', statusCode: 500 },
  )
})

await t.test('every route refuses a caller that the guard rejects', async (t) => {
  const { app } = await createServed(t)
  await recordUsers(app)
  for (const path of [
    'events',
    'export',
    'checkpoint',
    'tile/0/000',
    'tile/entries/000',
    `proof/${UNKNOWN_ID}`,
  ]) {
    const reply = await app.inject(`/audit/${path}`)
    t.equal(reply.statusCode, 403, path)
    t.equal(codeOf(reply), 'PARAPET_AUDIT_LOG_FORBIDDEN')
  }
  const reads = (await recordsOf(app)).filter(({ action }) =>
    String(action).startsWith('audit_log.log_'),
  )
  t.same(reads, [], 'no handler ran: nothing was read')
})

await t.test('the events route returns whole records and refuses invalid queries', async (t) => {
  const { app, get } = await createServed(t)
  await recordUsers(app)
  const page = (await get('/audit/events?limit=2')).json<{
    entries: { record: { v: number } }[]
  }>()
  t.equal(page.entries.length, 2)
  t.equal(page.entries[0]!.record.v, 1, 'the schema does not remove members of records')
  const misspelt = await get('/audit/events?limt=2')
  t.equal(misspelt.statusCode, 400, 'a misspelt filter is refused')
  t.equal(codeOf(misspelt), 'PARAPET_AUDIT_LOG_INVALID_QUERY')
  const invalid = await get('/audit/events?limit=0')
  t.equal(invalid.statusCode, 400)
  t.equal(codeOf(invalid), 'FST_ERR_VALIDATION')
  const reads = (await recordsOf(app)).filter(({ action }) => action === 'audit_log.log_read')
  t.equal(reads.length, 1, 'a refused query reads nothing')
})

await t.test('inclusion and consistency proofs verify with the public key alone', async (t) => {
  const { app, get } = await createServed(t)
  const empty = await get('/audit/checkpoint')
  t.equal(empty.statusCode, 404, 'the log is empty')
  t.equal(codeOf(empty), 'PARAPET_AUDIT_LOG_NOT_FOUND')
  await recordUsers(app)
  const key = parseVerifierKey(app.audit.verifierKey)!
  const read = (note: string) => parseCheckpoint((openNote(note, [key]) as { text: string }).text)!
  const { entries } = (await get('/audit/events?limit=2')).json<{
    entries: { record: { id: string } }[]
  }>()
  await app.audit.flush()
  const proven = (await get(`/audit/proof/${entries[1]!.record.id}`)).json<{
    index: number
    leaf: string
    proof: string[]
    checkpoint: string
  }>()
  t.type(openNote(proven.checkpoint, [key]), 'object')
  const { size, root } = read(proven.checkpoint)
  const hashes = proven.proof.map((hash) => Buffer.from(hash, 'base64'))
  t.ok(verifyInclusion(leafHash(Buffer.from(proven.leaf)), proven.index, size, hashes, root))
  const old = read((await get('/audit/checkpoint')).body)
  await app.audit.flush()
  const now = read(await app.audit.checkpoint())
  const consistency = (await app.audit.proveConsistency(old.size, now.size)).map((hash) =>
    Buffer.from(hash, 'base64'),
  )
  t.ok(verifyConsistency(old.size, now.size, old.root, now.root, consistency))
  await t.rejects(app.audit.proveConsistency(5, 1_000_000), {
    code: 'PARAPET_AUDIT_LOG_NOT_FOUND',
    statusCode: 404,
  })
})

await t.test('the tile route serves tiles and bundles, and refuses other paths', async (t) => {
  const { app, get } = await createServed(t)
  await recordUsers(app)
  const tile = await get('/audit/tile/0/000')
  t.equal(tile.rawPayload.length, 8192)
  t.match(tile.headers['cache-control'], /immutable/)
  t.equal((await get('/audit/tile/0/000.p/7')).rawPayload.length, 7 * 32)
  t.equal((await get('/audit/tile/entries/000')).statusCode, 200)
  for (const bad of [
    'tile/0/999',
    'tile/entries/999',
    'tile/0/0',
    'tile/..%2f..%2fkey.pem',
    `proof/${UNKNOWN_ID}`,
  ]) {
    const reply = await get(`/audit/${bad}`)
    t.equal(reply.statusCode, 404, bad)
    t.equal(codeOf(reply), 'PARAPET_AUDIT_LOG_NOT_FOUND')
  }
})

await t.test('the export route streams CSV without formulas, and NDJSON with proofs', async (t) => {
  const { app, get } = await createServed(t)
  await recordUsers(app)
  const csv = await get('/audit/export?format=csv&action=user.create')
  t.match(csv.headers['content-type'], /text\/csv/)
  t.match(csv.body, /,'=cmd\|5,|,"'=cmd\|5",/, 'no cell can be executed as a formula')
  t.equal(csv.body.split('\r\n').length, 302)
  const lines = (await get('/audit/export?proofs=true&action=user.create')).body.trim().split('\n')
  t.equal(lines.length, 300)
  t.match(JSON.parse(lines[0]!), {
    index: Number,
    leaf: /user.create/,
    proof: Array,
    checkpoint: /example/,
  })
})

await t.test('every read that the guard allows is recorded with its route', async (t) => {
  const { app, get } = await createServed(t)
  await recordUsers(app)
  const { entries } = (await get('/audit/events?limit=2')).json<{
    entries: { record: { id: string } }[]
  }>()
  for (const path of [
    `proof/${entries[1]!.record.id}`,
    'tile/0/000',
    'tile/entries/000',
    'tile/entries/999',
    `proof/${UNKNOWN_ID}`,
    'export?format=csv',
    'export?proofs=true',
  ]) {
    await get(`/audit/${path}`)
  }
  const reads = (await recordsOf(app)).filter(({ action }) =>
    String(action).startsWith('audit_log.log_'),
  )
  t.same(
    reads.map(({ route }) => String(route).replace('GET /audit/', '')),
    ['events', 'proof/:id', 'tile/*', 'tile/*', 'proof/:id', 'export', 'export'],
  )
})
