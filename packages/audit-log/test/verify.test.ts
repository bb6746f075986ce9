import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { pii } from '@parapet/audit-log'
import { createSqlClient } from '@parapet/kit'
import { plainNode, usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import type { Pool } from 'pg'
import t from 'tap'
import { decodeBundle, encodeBundle } from '../src/log/tiles.ts'
import { PostgresStore } from '../src/postgres/store.ts'
import { Findings, formatReport } from '../src/verify/report.ts'
import { createApp, createKeys, named, openFolder, useFolder, verify } from './support.ts'

const run = promisify(execFile)

/** A log of about 600 entries in three steps, with a subject and a large member. */
async function fill(app: FastifyInstance): Promise<{ early: string; bigId: string }> {
  await app.audit.record('user.create', {
    principal: 'admin',
    data: { email: pii('mail@example.org', { subject: 'u-1' }) },
  })
  await app.audit.record('user.invite', { principal: pii('u-2', { subject: 'u-2' }) })
  const big = await app.audit.record('report.store', { data: { text: 'x'.repeat(80_000) } })
  await app.audit.flush()
  const early = await app.audit.checkpoint()
  for (let step = 0; step < 2; step++) {
    await Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        app.audit.record('user.update', { principal: `u-${i}`, resourceId: `${step}-${i}` }),
      ),
    )
    await app.audit.flush()
  }
  return { early, bigId: big.id }
}

/** Changes to a log of `size` entries, and the finding that each must cause. */
function sqlAttacks(size: number): Record<string, { sql: string; names: RegExp }> {
  return {
    'edits a record': {
      sql: `update audit_log_events set leaf = replace(leaf, '"result":"success"', '"result":"failure"'), result = 'failure' where index = 20`,
      names: /^edited 20$/,
    },
    'edits a record and its tile': {
      sql: `update audit_log_events set leaf = replace(leaf, 'success', 'failure'), result = 'failure' where index = 300;
            update audit_log_tiles set hashes = overlay(hashes placing sha256(('\\x00'::bytea || convert_to((select leaf from audit_log_events where index = 300), 'UTF8'))) from (300 - 256) * 32 + 1) where level = 0 and index = 1`,
      names: /^history 3$|^history \d+$/,
    },
    'edits a column': {
      sql: `update audit_log_events set principal = 'someone else' where index = 30`,
      names: /^column 30$/,
    },
    'moves a time': {
      sql: `update audit_log_events set time = time - interval '1 day' where index = 31`,
      names: /^column 31$/,
    },
    'deletes a record': {
      sql: 'delete from audit_log_events where index = 40',
      names: /^missing 40$/,
    },
    'swaps two records': {
      sql: `update audit_log_events set index = -1 where index = 50;
            update audit_log_events set index = 50 where index = 60;
            update audit_log_events set index = 60 where index = -1`,
      names: /^reordered (50|60)$/,
    },
    'deletes the last records': {
      sql: `delete from audit_log_events where index >= ${size - 5}`,
      names: new RegExp(`^missing ${size - 5}$`),
    },
    'inserts a record after the end': {
      sql: `insert into audit_log_events select month, ${size}, time, id, action, result, principal, session, tenant, ip, resource, resource_id, request_id, route, error_code, writer, seq, leaf from audit_log_events where index = 70`,
      names: new RegExp(`^inserted ${size}$`),
    },
    'replays a record in the place of another': {
      sql: `update audit_log_events set leaf = (select leaf from audit_log_events where index = 79) where index = 80`,
      names: /^(edited 80|replayed 80)$/,
    },
    'swaps two tiles': {
      sql: `update audit_log_tiles set index = -1 where level = 0 and index = 0;
            update audit_log_tiles set index = 0 where level = 0 and index = 1;
            update audit_log_tiles set index = 1 where level = 0 and index = -1`,
      names: /^tile 0$/,
    },
    'edits a tile above': {
      sql: `update audit_log_tiles set hashes = set_byte(hashes, 0, (get_byte(hashes, 0) + 1) % 256) where level = 1`,
      names: /^tile 0$/,
    },
    'swaps two checkpoints': {
      sql: `update audit_log_checkpoints a set note = b.note from audit_log_checkpoints b
            where a.size = (select min(size) from audit_log_checkpoints) and b.size = ${size}`,
      names: /^checkpoint$/,
    },
    'forges a checkpoint': {
      sql: `update audit_log_checkpoints set note = replace(note, E'\\n${size}\\n', E'\\n${size - 1}\\n') where size = ${size}`,
      names: /^checkpoint$/,
    },
    'removes the last checkpoint': {
      sql: `update audit_log_state set note = (select note from audit_log_checkpoints order by size limit 1)`,
      names: /^checkpoint$/,
    },
    'rolls the log back to an earlier state': {
      sql: `delete from audit_log_events where index >= (select min(size) from audit_log_checkpoints where size > 1);
            update audit_log_state s set size = c.size, note = c.note from (select * from audit_log_checkpoints where size > 1 order by size limit 1) c`,
      names: /^rollback/,
    },
    'erases a subject without a record': {
      sql: `delete from audit_log_subject_keys; delete from audit_log_values`,
      names: /^erasure$/,
    },
    'forges an erasure': {
      sql: `insert into audit_log_erasures select subject, 1 from audit_log_subject_keys; delete from audit_log_subject_keys; delete from audit_log_values`,
      names: /^erasure$/,
    },
    'prunes without a record': {
      sql: `delete from audit_log_events where index < 256; update audit_log_state set min_index = 256`,
      names: /^pruned 256$/,
    },
    'writes an entry without members': {
      sql: `update audit_log_events set leaf = '{"v":1}' where index = 90`,
      names: /^malformed 90$/,
    },
    'writes members of wrong types': {
      sql: `update audit_log_events set leaf = '{"v":1,"action":5,"principal":null,"blob":[],"writer":{}}' where index = 91`,
      names: /^malformed 91$/,
    },
    'sets an impossible size': {
      sql: 'update audit_log_state set size = 9000000000000000',
      names: /^missing \d+$/,
    },
    'prunes more entries than exist': {
      sql: 'update audit_log_state set min_index = 9000000000000000',
      names: /^tile \d+$/,
    },
    'removes a checkpoint': {
      sql: `delete from audit_log_checkpoints where size = (select size from audit_log_checkpoints order by size offset 1 limit 1)`,
      names: /^checkpoint \d+$/,
    },
    'removes the newest checkpoint': {
      sql: `delete from audit_log_checkpoints where size = ${size}`,
      names: new RegExp(`^checkpoint ${size}$`),
    },
    'files an entry under another month': {
      sql: `update audit_log_events set month = month - interval '2 months' where index = 33`,
      names: /^column 33$/,
    },
    'edits the root of the state': {
      sql: `update audit_log_state set root = '${Buffer.alloc(32).toString('base64')}'`,
      names: /^state$/,
    },
    'edits the edge of the state': {
      sql: `update audit_log_state set edge = '[]'`,
      names: /^state$/,
    },
    'swaps two encrypted values': {
      sql: `update audit_log_values a set sealed = b.sealed, key_id = b.key_id from audit_log_values b
            where a.record <> b.record`,
      names: /^value \d+$/,
    },
    'edits the key of a subject': {
      sql: `update audit_log_subject_keys set sealed = 'x'`,
      names: /^value \d+$/,
    },
    'edits a large member': {
      sql: `update audit_log_blobs set blob = replace(blob, 'xxx', 'xyx')`,
      names: /^blob \d$/,
    },
  }
}

await t.test('the verifier finds every change that a database superuser can make', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool } = postgres
  const app = await createApp(t, { sql: createSqlClient(pool), ...createKeys() })
  const { early } = await fill(app)
  const { verifierKey } = app.audit
  const store = new PostgresStore(createSqlClient(pool))
  const { size } = (await store.state())!
  const clean = await verify(store, verifierKey, early)
  t.same(named(clean), [], 'the unchanged log verifies')
  t.equal(clean.exitCode, 0)
  t.equal(clean.entries, size)
  t.equal(clean.columns, size)

  const attacks = sqlAttacks(size)
  for (const [name, { sql, names }] of Object.entries(attacks)) {
    const report = await inUndone(pool, sql, (client) => verify(client, verifierKey, early))
    t.equal(report.exitCode, 1, `${name}: exit 1`)
    t.ok(
      named(report).some((finding) => names.test(finding)),
      `${name}: ${named(report).slice(0, 5).join(', ')}`,
    )
  }

  const rolledBack = await inUndone(
    pool,
    `delete from audit_log_checkpoints where size > (select min(size) from audit_log_checkpoints);
     update audit_log_state s set size = c.size, note = c.note, root = split_part(c.note, E'\\n', 3) from audit_log_checkpoints c;
     delete from audit_log_events where index >= (select size from audit_log_state)`,
    async (client) => {
      const full = await app.audit.checkpoint() // kept elsewhere before the attack
      return verify(client, verifierKey, full)
    },
  )
  t.ok(
    named(rolledBack).some((finding) => finding.startsWith('rollback')),
    'a restored backup is found with a kept checkpoint',
  )

  t.equal((await verify(store, verifierKey)).exitCode, 0, 'every attack was undone')
  const other = await createApp(t)
  t.equal((await verify(store, other.audit.verifierKey)).exitCode, 3, 'another key is not trusted')
})

/** Runs SQL in a transaction, looks at the log, and rolls back. */
async function inUndone<T>(
  pool: Pool,
  sql: string,
  look: (store: PostgresStore) => Promise<T>,
): Promise<T> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query(sql)
    const queryable = {
      query: async (text: string, values?: unknown[]) => {
        const { rows, rowCount } = await client.query(text, values)
        return { rows: rows as never[], rowCount: rowCount ?? 0 }
      },
      transaction: () => Promise.reject(new Error('a verifier writes nothing')),
    }
    return await look(new PostgresStore(queryable as never))
  } finally {
    await client.query('ROLLBACK')
    client.release()
  }
}

/** Changes to the files of a log, and the finding that each must cause. */
function fileAttacks(
  early: string,
): Record<string, { tamper: (folder: string) => void; names: RegExp }> {
  const bundlePath = 'log/tile/entries/000'
  return {
    'edits an entry': {
      tamper: (folder) =>
        rewrite(folder, bundlePath, (leaves) => {
          leaves[9] = leaves[9]!.replace('success', 'failure')
        }),
      names: /^edited 9$/,
    },
    'swaps entries': {
      tamper: (folder) =>
        rewrite(folder, bundlePath, (leaves) => {
          ;[leaves[9], leaves[10]] = [leaves[10]!, leaves[9]!]
        }),
      names: /^reordered 9$/,
    },
    'drops an entry': {
      tamper: (folder) => rewrite(folder, bundlePath, (leaves) => void leaves.splice(9, 1)),
      names: /^(reordered|edited|missing) \d+$/,
    },
    'removes a bundle': {
      tamper: (folder) => rmSync(join(folder, bundlePath)),
      names: /^missing 0$/,
    },
    'edits a tile': {
      tamper: (folder) => {
        const path = join(folder, 'log/tile/0/000')
        const bytes = readFileSync(path)
        bytes[0]! ^= 1
        writeFileSync(path, bytes)
      },
      names: /^tile 0$/,
    },
    'replaces the state by an old one': {
      tamper: (folder) => {
        const path = join(folder, 'log/state.json')
        const state = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
        const [size, root] = early.split('\n').slice(1, 3)
        writeFileSync(path, JSON.stringify({ ...state, size: Number(size), root, note: early }))
      },
      names: /^rollback/,
    },
    'truncates a bundle': {
      tamper: (folder) => {
        const path = join(folder, bundlePath)
        writeFileSync(path, readFileSync(path).subarray(0, -1))
      },
      names: /^malformed 0$/,
    },
    'adds an entry after the end': {
      tamper: (folder) => {
        const bundle = partialBundle(folder)
        rewrite(folder, bundle, (leaves) => void leaves.push(leaves[0]!))
      },
      names: /^inserted \d+$/,
    },
    'removes a large member': {
      tamper: (folder) => rmSync(join(folder, 'log/blobs'), { recursive: true }),
      names: /^blob \d$/,
    },
    'removes the keys of a subject': {
      tamper: (folder) => rmSync(join(folder, 'log/subjects'), { recursive: true }),
      names: /^erasure$/,
    },
  }
}

await t.test('the verifier finds every change to the files of a directory', async (t) => {
  const app = await createApp(t, createKeys())
  const { early } = await fill(app)
  const { verifierKey } = app.audit
  await app.audit.flush()
  const last = await app.audit.checkpoint()
  t.same(named(await verify(openFolder(app.folder), verifierKey, early)), [])

  const attacks = fileAttacks(early)
  for (const [name, { tamper, names }] of Object.entries(attacks)) {
    const copy = useFolder(t)
    cpSync(join(app.folder, 'log'), join(copy, 'log'), {
      recursive: true,
      filter: (source) => !source.includes('/lock.'),
    })
    tamper(copy)
    const report = await verify(openFolder(copy), verifierKey, last)
    t.equal(report.exitCode, 1, `${name}: exit 1`)
    t.ok(
      named(report).some((found) => names.test(found)),
      `${name}: ${named(report).slice(0, 5).join(', ')}`,
    )
  }
})

/** The last bundle, which is not full. */
function partialBundle(folder: string): string {
  const entries = 'log/tile/entries'
  const last = readdirSync(join(folder, entries)).find((name) => name.endsWith('.p'))!
  const widths = readdirSync(join(folder, entries, last)).toSorted((a, b) => Number(b) - Number(a))
  return join(entries, last, widths[0]!)
}

function rewrite(folder: string, path: string, edit: (leaves: string[]) => void): void {
  const leaves = decodeBundle(readFileSync(join(folder, path)))!
  edit(leaves)
  writeFileSync(join(folder, path), encodeBundle(leaves))
}

await t.test('a log that was rolled back while the service runs is not continued', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool } = postgres
  const app = await createApp(t, { sql: createSqlClient(pool) })
  const problems: string[] = []
  app.securityEvents.on(
    'audit_log.tampering_found',
    ({ details }) => void problems.push(details.problem),
  )
  await app.audit.record('user.create', {})
  await app.audit.flush()
  const { rows } = await pool.query<{ size: string; root: string; edge: string; note: string }>(
    'select * from audit_log_state',
  )
  await app.audit.record('user.delete', {})
  await app.audit.flush()
  const old = rows[0]!
  await pool.query('update audit_log_state set size = $1, root = $2, edge = $3, note = $4', [
    old.size,
    old.root,
    old.edge,
    old.note,
  ])
  await app.audit.record('user.create', {})
  await app.audit.flush()
  t.match(problems, [/shorter than before/])
  t.match(await app.audit.status(), { halted: /shorter/ })
  const checks = await app.audit.doctor()
  t.match(
    checks.find(({ check }) => check === 'log'),
    { ok: false },
  )
  await app.audit.record('user.create', {})
  await app.audit.flush()
  const inbox = await pool.query('select 1 from audit_log_inbox')
  t.equal(inbox.rowCount, 1, 'nothing is shipped once the log is halted')
  t.ok((await app.audit.status()).spoolBytes > 0, 'later records wait in the spool')
})

await t.test('a log whose edge does not match its root is not continued', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const app = await createApp(t, { sql: createSqlClient(postgres.pool) })
  await app.audit.record('user.create', {})
  await app.audit.flush()
  const edge = JSON.stringify([randomBytes(64).toString('base64')])
  await postgres.pool.query('update audit_log_state set edge = $1', [edge])
  await app.audit.record('user.delete', {})
  await app.audit.flush()
  t.match(await app.audit.status(), { halted: /edge/ })
  t.equal(
    named(await verify(app.audit.parts.store, app.audit.verifierKey)).join(),
    'state',
    'no wrong checkpoint was signed, and the edge is named',
  )
})

await t.test('the log verifies after an erasure and a pruning', async (t) => {
  const now = { ms: 1_700_000_000_000 }
  const clock = {
    now: () => now.ms,
    schedule: (ms: number, task: () => void) => {
      const timer = setTimeout(task, ms)
      timer.unref()
      return () => clearTimeout(timer)
    },
  }
  const postgres = await usePostgres(t)
  if (postgres === null) return
  for (const sql of [undefined, createSqlClient(postgres.pool)]) {
    const app = await createApp(t, {
      ...createKeys(),
      clock,
      ...(sql === undefined ? undefined : { sql }),
      retention: { days: 30, byAction: { 'user.*': 10 }, isOnHold: (r) => r.resourceId === '1-40' },
    })
    const store = sql === undefined ? openFolder(app.folder) : app.audit.parts.store
    await fill(app)
    const { items } = { items: await app.audit.query({ filters: { action: 'user.create' } }) }
    const { id } = items.entries[0]!.record
    t.match(await app.audit.reveal(id), { data: { email: 'mail@example.org' } })
    const erased = await app.audit.erase('u-1', { reason: 'asked for' })
    t.match(erased, { keys: 1, values: 1 })
    t.match(await app.audit.reveal(id), { data: { email: '[erased]' } }, 'the value is gone')
    t.equal((await app.audit.prune()).entries, 0, 'nothing is old enough')
    now.ms += 31 * 86_400_000
    const pruned = await app.audit.prune()
    t.equal(pruned.before, 256, 'up to the record on hold, at a bundle boundary')
    t.equal(pruned.entries, 256)
    await app.audit.flush()
    const report = await verify(store, app.audit.verifierKey)
    t.same(named(report), [])
    t.equal(report.exitCode, 0)
    t.equal(report.minIndex, 256)
    t.equal(report.erasedSubjects, 1)
  }
})

const verifyBy = async (...args: string[]) => {
  const cli = new URL('../src/command/cli.ts', import.meta.url).pathname
  const [file, all] = plainNode([cli, ...args])
  return run(file, all).then(
    ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

await t.test('the exit code of the command is the verdict', async (t) => {
  const app = await createApp(t)
  await app.audit.record('user.create', { principal: '\u001b[2Jevil' })
  await app.audit.flush()
  const { verifierKey } = app.audit
  const keyFile = join(app.folder, 'log.pub')
  const kept = join(app.folder, 'kept')
  writeFileSync(keyFile, `${verifierKey}\n`)
  writeFileSync(kept, await app.audit.checkpoint())
  await app.close()
  const dir = ['verify', '--dir', app.folder]
  const sound = await verifyBy(...dir, '--key', keyFile, '--checkpoint', kept)
  t.equal(sound.code, 0, sound.stderr)
  t.match(sound.stdout, /OK in .* entries\/s/)
  t.match(
    (await verifyBy(...dir, '--key', verifierKey)).stdout,
    /Not proven/,
    'the report says what it cannot prove',
  )
  t.equal((await verifyBy(...dir)).code, 3)
  t.equal((await verifyBy('verify', '--dir', useFolder(t), '--key', verifierKey)).code, 2, 'no log')
  rewrite(app.folder, partialBundle(app.folder), (leaves) => {
    leaves[1] = leaves[1]!.replace('evil', 'good')
  })
  const tampered = await verifyBy(...dir, '--key', verifierKey, '--json')
  t.equal(tampered.code, 1)
  t.match(JSON.parse(tampered.stdout), {
    exitCode: 1,
    counts: { edited: 1 },
    findings: [{ kind: 'edited', index: 1 }],
  })
  t.notMatch(
    (await verifyBy(...dir, '--key', verifierKey)).stdout,
    new RegExp(String.fromCharCode(27)),
    'no control character reaches the terminal',
  )
  writeFileSync(join(app.folder, 'log/state.json'), '{"size":1')
  t.equal(
    (await verifyBy(...dir, '--key', verifierKey)).code,
    1,
    'a damaged state is not a missing log',
  )
  t.equal((await verifyBy('verify')).code, 64)
  t.equal((await verifyBy(...dir, '--key', randomBytes(8).toString('hex'))).code, 64)
})

function exitOf(...kinds: ('gap' | 'key' | 'edited')[]): number {
  const findings = new Findings()
  for (const kind of kinds) findings.add({ kind, detail: 'x' })
  return findings.exitCode()
}

await t.test('the report lists counts, findings and the verdict', async (t) => {
  const findings = new Findings()
  for (let index = 0; index < 25; index++) {
    findings.add({ kind: 'edited', index, id: '\u001b[2J', detail: 'x' })
  }
  t.same(
    [exitOf(), exitOf('gap'), exitOf('key'), exitOf('gap', 'key'), exitOf('key', 'edited')],
    [0, 2, 3, 3, 1],
  )
  const text = formatReport({
    origin: 'example.org/audit',
    size: 600,
    minIndex: 256,
    entries: 344,
    checkpoints: 3,
    columns: 344,
    writers: 2,
    declaredLosses: 1,
    openAttempts: 4,
    erasedSubjects: 5,
    pinned: true,
    witnesses: [{ name: 'w\u001b[2J', size: 512, time: 0 }],
    findings: findings.list,
    counts: findings.counts,
    elapsedMs: 10,
    exitCode: findings.exitCode(),
  })
  t.match(text, /600 entries, continues the given checkpoint/)
  t.match(text, /w\?\[2J cosigned 512 entries at 1970-01-01T00:00:00.000Z/)
  t.match(text, /entries before 256 pruned/)
  t.match(text, /344 compared with their columns/)
  t.match(text, / x edited entry 19 \(id \?\[2J\): x/)
  t.match(text, /5 more of kind edited/)
  t.match(text, /TAMPERED in 0.0 s \(34400 entries\/s\)/)
  t.notMatch(text, /Not proven/)
})
