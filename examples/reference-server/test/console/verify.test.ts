/** What the console verifies in the browser, against a log that the server wrote, and against edits of it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { canonicalize } from '../../console/verify/canonical-json.ts'
import { verifyEntries } from '../../console/verify/verify-entries.ts'
import { concat } from '../../console/verify/bytes.ts'
import { leafHash, rangeHash } from '../../console/verify/merkle.ts'
import { perfectRoot, subtreesOf, TileError } from '../../console/verify/tiles.ts'
import {
  verifyRecords,
  verifyTree,
  type Check,
  type LogSource,
  type PlacedRecord,
  type RememberedTree,
} from '../../console/verify/verify-log.ts'
import { checkCompleteness, checkInclusion } from '../../console/verify/verify-page.ts'
import { API } from '../../src/http/api.ts'
import { createTestApp, openDatabase } from '../support/test-app.ts'
import { signIn } from '../support/sign-in.ts'

const database = await openDatabase(t)
const directory = mkdtempSync(join(tmpdir(), 'console-'))
t.after(() => rmSync(directory, { recursive: true, force: true }))
const { app } = await createTestApp(t, database, { AUDIT_DIR: directory })
const headers = await signIn(app, 'admin')

const read = async (path: string) => {
  const response = await app.inject({ url: `${API}/audit/${path}`, headers })
  if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`)
  return response
}
const fetchTile = async (path: string) => {
  const response = await app.inject({ url: `${API}/audit/tile/${path}`, headers })
  if (response.statusCode === 404) throw new TileError(path, 'is missing')
  return new Uint8Array(response.rawPayload)
}

async function readSource(): Promise<LogSource> {
  const [key, checkpoint] = [await read('key'), await read('checkpoint')]
  return { key: key.body.trim(), checkpoint: checkpoint.body, fetchTile }
}

async function readPage(): Promise<PlacedRecord[]> {
  return (await read('events?limit=50')).json<{ entries: PlacedRecord[] }>().entries
}

async function record(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await app.audit.record('test.done', { data: { at } })
  await app.audit.flush()
}

const failedOf = (checks: readonly Check[]) =>
  checks.filter(({ passed }) => !passed).map(({ name }) => name)

/** Verifies as the page does. */
async function verify(remembered?: RememberedTree, source?: LogSource) {
  const entries = await readPage()
  const { checks, log } = await verifyTree(source ?? (await readSource()), remembered)
  if (log === undefined) return { failed: failedOf(checks), edited: [], log }
  const records = await verifyRecords(log, entries)
  const edited = [...records].filter(([, passed]) => !passed).map(([index]) => index)
  const inclusion = checkInclusion(entries, records, Date.now())
  const page = { entries, isFiltered: false, hasMore: entries.at(-1)?.index !== 0 }
  const completeness = checkCompleteness(page, log, log.checkpoint.size)
  const all = [...checks, inclusion, completeness]
  return { failed: failedOf(all), edited, log, records, inclusion, completeness }
}

/** Edits the lowest tile. */
async function fetchForged(path: string) {
  const tile = await fetchTile(path)
  if (path === '0/000') tile[0]! ^= 1
  return tile
}

/** Cuts a hash off. */
async function fetchShort(path: string) {
  return (await fetchTile(path)).slice(0, -32)
}

/** A page with records at these indexes. */
function pageOf(indexes: readonly number[], hasMore = true, below?: number) {
  const entries = indexes.map((index) => ({ index, record: {} }))
  return { entries, isFiltered: false, hasMore, below }
}

await t.test('a log of the server verifies at every size around a full tile', async (t) => {
  let remembered: RememberedTree | undefined
  for (const count of [1, 2, 5, 245, 3, 7, 250, 40]) {
    await record(count)
    const { failed, edited, log, records } = await verify(remembered)
    t.same([failed, edited], [[], []], `${log?.checkpoint.size} entries`)
    t.ok(records!.size > 0)
    remembered = log!.tree
  }
  t.ok(remembered!.size > 512, 'the tree has several tiles')
  const shares: number[] = []
  const { log } = await verify(remembered)
  const all = await verifyEntries(log!, fetchTile, (share) => shares.push(share))
  t.match(all, { passed: true, text: `${log!.checkpoint.size} entries were fetched` })
  t.equal(shares.at(-1), 1)
})

await t.test('canonical JSON of a received record is the text that was hashed', async (t) => {
  const { entries } = await app.audit.query({ limit: 100 })
  for (const { record, leaf } of entries) t.equal(canonicalize(record), leaf)
})

await t.test('a record that was edited in the database is named', async (t) => {
  const { log } = await verify()
  const victim = log!.checkpoint.size - 3
  const change = (from: string, to: string) =>
    database.sql.query(
      `UPDATE audit_log_events SET leaf = replace(leaf, '"${from}"', '"${to}"') WHERE index = $1`,
      [victim],
    )
  await change('success', 'failure')
  t.after(() => change('failure', 'success'))
  const found = await verify(log!.tree)
  t.same(found.failed, ['inclusion'], 'tree and signature are those of before')
  t.same(found.edited, [victim])
  const all = await verifyEntries(found.log!, fetchTile, () => {})
  t.match(all, { passed: false, text: `Edited or missing: #${victim}.` })
})

await t.test('an attacker who also edits the hash of the record breaks the tree', async (t) => {
  const { log } = await verify()
  // The tile of level 1 changes every 256 records only, so that the records of these reads do not heal it.
  const flip = `UPDATE audit_log_tiles SET hashes = set_byte(hashes, 5, get_byte(hashes, 5) # 1) WHERE level = 1`
  await database.sql.query(flip)
  t.after(() => database.sql.query(flip))
  const { failed } = await verify(log!.tree)
  t.ok(failed.includes('root'), String(failed))
})

await t.test('a tile that does not lead to the signed root is believed in nothing', async (t) => {
  const source = await readSource()
  const { log } = await verifyTree({ ...source, fetchTile: fetchForged }, undefined)
  const { entries } = (await read('events?limit=50&cursor=100')).json<{ entries: PlacedRecord[] }>()
  const records = await verifyRecords(log!, entries)
  t.same([...new Set(records.values())], [false])
  t.same(failedOf((await verifyTree({ ...source, fetchTile: fetchShort }, undefined)).checks), [
    'root',
  ])
})

await t.test('a record that was removed from the database is missed', async (t) => {
  const { log } = await verify()
  const victim = log!.checkpoint.size - 4
  await database.sql.query(
    `CREATE TEMP TABLE removed AS SELECT * FROM audit_log_events WHERE index = ${victim}`,
  )
  await database.sql.query(`DELETE FROM audit_log_events WHERE index = ${victim}`)
  const found = await verify(log!.tree)
  t.same(found.failed, ['completeness'])
  t.match(found.completeness!.text, `#${victim}`)
  const all = await verifyEntries(found.log!, fetchTile, () => {})
  t.equal(all.passed, false)
  await database.sql.query(`INSERT INTO audit_log_events SELECT * FROM removed`)
  await database.sql.query(`DROP TABLE removed`)
  t.same((await verify(log!.tree)).failed, [])
})

await t.test('a page must have every signed record, the newest first', async (t) => {
  const { log } = await verify()
  const { size } = log!.checkpoint
  const check = (...given: Parameters<typeof pageOf>) =>
    checkCompleteness(pageOf(...given), log!, size).passed
  const [a, b, c] = [size - 1, size - 2, size - 3]
  t.ok(check([a, b, c]))
  t.ok(check([size, a, b]), 'newer than the checkpoint')
  t.notOk(check([b, c]), 'the newest is hidden')
  t.notOk(check([a, c]), 'one in the middle is hidden')
  t.notOk(check([a, a, b]), 'one is shown twice')
  t.notOk(check([]), 'all are hidden')
  t.ok(check([4, 3, 2], true, 5))
  t.notOk(check([3, 2], true, 5), 'one between two pages is hidden')
  t.ok(check([1, 0], false, 2))
  t.notOk(check([3, 2], false, 4), 'the oldest are hidden')
  t.ok(check([257, 256], false, 258), 'older bundles are no longer kept')
  t.ok(checkCompleteness({ ...pageOf([9, 4]), isFiltered: true }, log!, size).passed)
})

await t.test(
  'records that the checkpoint does not cover are refused when they are old',
  async (t) => {
    const { log } = await verify()
    const now = Date.now()
    const { size } = log!.checkpoint
    const claim = (time: unknown, index: unknown = size + 5) =>
      checkInclusion([{ index: index as number, record: { time } }], new Map(), now)
    t.match(claim(now - 1000), { passed: true, text: /1 newer ones are not signed yet/ })
    for (const time of [now - 600_000, undefined, 'today', Number.NaN]) {
      t.equal(claim(time).passed, false, String(time))
    }
    const odd = [-1, 0.5, '3', null, undefined].map((index) => ({ index, record: { time: now } }))
    const records = await verifyRecords(log!, odd as never)
    t.ok([...records.values()].every((isIncluded) => !isIncluded))
    t.equal(records.size, odd.length)
  },
)

/** A log in memory: two full bundles and a rest. */
async function createLog(leaves: readonly string[]) {
  const encoder = new TextEncoder()
  const rows = await Promise.all(leaves.map((leaf) => leafHash(leaf)))
  const full = [rows.slice(0, 256), rows.slice(256, 512)]
  const above = await Promise.all(full.map((row) => perfectRoot(concat(...row))))
  const bundle = (start: number, end: number) =>
    concat(
      ...leaves.slice(start, end).flatMap((leaf) => {
        const bytes = encoder.encode(leaf)
        return [Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes]
      }),
    )
  const rest = leaves.length - 512
  const files = new Map([
    ['0/000', concat(...full[0]!)],
    ['0/001', concat(...full[1]!)],
    [`0/002.p/${rest}`, concat(...rows.slice(512))],
    ['1/000.p/2', concat(...above)],
    ['entries/000', bundle(0, 256)],
    ['entries/001', bundle(256, 512)],
    [`entries/002.p/${rest}`, bundle(512, leaves.length)],
  ])
  const fetchTile = async (path: string) => {
    const file = files.get(path)
    if (file === undefined) throw new TileError(path, 'is missing')
    return file
  }
  const read = subtreesOf(fetchTile, leaves.length)
  const root = await rangeHash(read, 0, leaves.length)
  const checkpoint = { origin: 'test', size: leaves.length, root }
  const tree = { key: '', size: leaves.length, root: '' }
  return { files, fetchTile, log: { checkpoint, read, tree } }
}

await t.test('a log that was pruned verifies from where it begins', async (t) => {
  const leaves = Array.from({ length: 520 }, (_, at) => `{"action":"test.done","seq":${at}}`)
  const silent = await createLog(leaves)
  t.match(await verifyEntries(silent.log, silent.fetchTile, () => {}), {
    passed: true,
    text: /^520/,
  })
  silent.files.delete('entries/000')
  const unsaid = await verifyEntries(silent.log, silent.fetchTile, () => {})
  t.match(unsaid, { passed: false, text: 'Edited or missing: #0.' })

  const statement = '{"action":"audit_log.log_pruned","data":{"before":256}}'
  const said = await createLog([...leaves.slice(0, -1), statement])
  said.files.delete('entries/000')
  const shares: number[] = []
  const result = await verifyEntries(said.log, said.fetchTile, (share) => shares.push(share))
  t.match(result, { passed: true, text: /^264 entries .* before #256 are no longer kept\.$/ })
  t.equal(shares.at(-1), 1)
  said.files.delete('entries/001')
  t.equal(
    (await verifyEntries(said.log, said.fetchTile, () => {})).passed,
    false,
    'no more than that',
  )
})

await t.test('a tile that could not be read is read again', async (t) => {
  const { log, fetchTile } = await createLog(Array.from({ length: 600 }, (_, at) => `${at}`))
  let isDown = true
  const read = subtreesOf(async (path) => {
    if (isDown) throw new Error('the network')
    return fetchTile(path)
  }, 600)
  await t.rejects(rangeHash(read, 0, 600), /the network/)
  isDown = false
  t.same(await rangeHash(read, 0, 600), log.checkpoint.root)
})

await t.test(
  'another key, a forged checkpoint and a log that was cut off are refused',
  async (t) => {
    const source = await readSource()
    const { log } = await verify()
    const other = { ...log!.tree, key: source.key.replace(/.$/, 'x') }
    t.same((await verify(other)).failed, ['key'])
    t.equal((await verify()).log!.tree.isTrusted, false, 'a key that nobody has compared')
    t.equal((await verify({ ...log!.tree, isTrusted: true })).log!.tree.isTrusted, true)
    t.equal((await verify({ ...other, isTrusted: true })).log!.tree.isTrusted, false)
    const forged = source.checkpoint.replace(/^(.+)\n(\d+)\n/, '$1\n1\n')
    t.same((await verify(log!.tree, { ...source, checkpoint: forged })).failed, ['signature'])
    const longer = { ...log!.tree, size: log!.tree.size + 1000 }
    t.same((await verify(longer)).failed, ['consistency'])
    const rewritten = { ...log!.tree, size: 300 }
    t.same((await verify(rewritten)).failed, ['consistency'])
  },
)

// The open log keeps the process alive, so the end of the tests closes the app.
t.end()
