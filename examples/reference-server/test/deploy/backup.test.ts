/**
 * A backup of a real database, folders and Redis; everything is lost; the restore brings it back, and the
 * audit log still verifies. Then each way in which a backup can be wrong.
 */
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { basename, join } from 'node:path'
import { findExecutable, missService, runs, startPostgres, startRedis } from '@parapet/testing'
import { Pool } from 'pg'
import t, { type Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config/environment.ts'
import { createLog } from '../../src/logging/log.ts'
import { deployFolder } from '../../deploy/check/all.ts'
import { createOpenFolder, makeKey, runProgram, writeVerifier } from '../support/deploy.ts'

const ROWS = runs(500, 100_000)
const FILES = runs(5, 200)
const log = createLog({ logLevel: 'silent' })
const scripts = join(deployFolder, 'backup')

const missing = ['gpg', 'pg_dump', 'pg_restore', 'flock'].filter(
  (name) => findExecutable(name) === null,
)

await t.test('backup, restore and restore drill', async (t) => {
  if (missing.length > 0) {
    missService(t, missing.join(', '), 'not on PATH')
    return
  }
  const [postgres, redis] = [await startPostgres(t), await startRedis(t)]
  if (postgres !== null && redis !== null) await runTests(t, postgres.port, redis.port)
})

async function runTests(t: Test, port: number, redisPort: number): Promise<void> {
  const folder = createOpenFolder(t)
  const [encryption, signature, other] = [
    await makeKey(folder, 'backup', 'encr'),
    await makeKey(folder, 'signer', 'sign'),
    await makeKey(folder, 'other', 'encr'),
  ]
  const [backups, uploads] = [join(folder, 'backups'), join(folder, 'uploads')]
  const connection = {
    PGHOST: '127.0.0.1',
    PGPORT: String(port),
    PGUSER: 'postgres',
    TMPDIR: folder,
  }
  const keys = { BACKUP_ENCRYPT_KEY: encryption.publicKey, BACKUP_SIGN_KEY: signature.privateKey }
  const restoreKeys = {
    BACKUP_VERIFY_KEY: signature.publicKey,
    BACKUP_DECRYPT_KEY: encryption.privateKey,
  }
  const admin = new Pool({
    connectionString: `postgres://postgres@127.0.0.1:${port}/postgres`,
    max: 1,
  })
  t.after(() => admin.end())
  const urlOf = (database: string): string => `postgres://postgres@127.0.0.1:${port}/${database}`
  const scriptOf = (env: Record<string, string>) => ({
    ...connection,
    ...keys,
    PGDATABASE: 'parapet',
    BACKUP_DIR: backups,
    ...env,
  })
  const backUp = (env: Record<string, string> = {}) =>
    runProgram(join(scripts, 'backup.sh'), [], {
      ...scriptOf({ FILES_DIRS: uploads, REDIS_HOST: '127.0.0.1', REDIS_PORT: String(redisPort) }),
      ...env,
    })
  const restore = (backup: string, env: Record<string, string> = {}) =>
    runProgram(join(scripts, 'restore.sh'), [backup], {
      ...connection,
      ...restoreKeys,
      PGDATABASE: 'parapet',
      ...env,
    })
  const auditKey = join(folder, 'audit.pub')
  const drill = (env: Record<string, string> = {}) =>
    runProgram(join(scripts, 'restore-drill.sh'), [], {
      ...connection,
      ...restoreKeys,
      BACKUP_DIR: backups,
      // The command of the package, from its sources.
      AUDIT_VERIFY: join(folder, 'verify'),
      AUDIT_PUBLIC_KEY: auditKey,
      ...env,
    })
  writeVerifier(join(folder, 'verify'))

  await t.test('the service runs, and its data are backed up', async (t) => {
    await admin.query('CREATE DATABASE parapet')
    mkdirSync(uploads)
    for (let index = 0; index < FILES; index += 1) {
      writeFileSync(join(uploads, `photo ${index} ñ.bin`), Buffer.alloc(64 * 1024, index))
    }
    const app = await buildApp(
      readConfig({
        DATABASE_URL: urlOf('parapet'),
        REDIS_URL: `redis://127.0.0.1:${redisPort}`,
        AUDIT_DIR: join(folder, 'audit'),
      }),
      { log },
    )
    writeFileSync(auditKey, app.audit.verifierKey)
    const { rows } = await app.sql.query<{ id: string }>(
      `INSERT INTO users (id, email, display_name, roles)
       SELECT gen_random_uuid(), n || '@example.com', 'User ' || n || E' \\u00f1', '{viewer}'
         FROM generate_series(1, ${ROWS}) AS n RETURNING id::text AS id`,
    )
    for (const { id } of rows.slice(0, Math.max(20, ROWS / 100))) {
      await app.audit.record('user.create', { resourceId: id })
    }
    await app.audit.flush()
    // Names that a list of words would take apart.
    await app.sql.query('CREATE TABLE "odd name" AS SELECT 1 AS id FROM generate_series(1, 3)')
    await app.sql.query('CREATE TABLE "odd\nline 7" AS SELECT 1 AS id')
    await app.close()

    const { code, stdout, stderr } = await backUp()
    t.equal(code, 0, stderr)
    const backup = stdout.trim()
    t.match(readdirSync(backup).toSorted(), [
      'files.tar.gz.gpg',
      'manifest',
      'manifest.sig',
      'postgresql.content',
      'postgresql.dump.gpg',
      'redis.rdb.gpg',
    ])
    t.match(
      readFileSync(join(backup, 'postgresql.content'), 'utf8'),
      new RegExp(`public\\.users ${ROWS} `),
    )
    t.notMatch(
      readFileSync(join(backup, 'postgresql.dump.gpg'), 'latin1'),
      /PGDMP|example\.com/,
      'encrypted',
    )
    t.match(stderr, new RegExp(`ok: ${basename(backup)}, \\d+ bytes, \\d+ s`))
  })

  const backup = join(
    backups,
    readdirSync(backups).find((name) => name.startsWith('backup-')) ?? 'none',
  )

  await t.test('everything is lost, and the restore brings it back', async (t) => {
    // What happens after the backup is lost with the database.
    const env = { DATABASE_URL: urlOf('parapet'), AUDIT_DIR: join(folder, 'audit') }
    const last = await buildApp(readConfig(env), { log })
    await last.audit.record('user.create', { resourceId: 'after the backup' })
    await last.audit.flush()
    await last.close()
    await admin.query('DROP DATABASE parapet')
    await admin.query('CREATE DATABASE parapet')
    const files = join(folder, 'restored')
    mkdirSync(files)
    const { code, stderr } = await restore(backup, {
      RESTORE_FILES_DIR: files,
      RESTORE_REDIS_FILE: join(folder, 'dump.rdb'),
    })
    t.equal(code, 0, stderr)
    const pool = new Pool({ connectionString: urlOf('parapet'), max: 1 })
    t.equal((await pool.query('SELECT 1 FROM users')).rowCount, ROWS)
    await pool.end()
    for (const name of readdirSync(uploads)) {
      t.ok(readFileSync(join(uploads, name)).equals(readFileSync(join(files, uploads, name))), name)
    }
    t.equal(readFileSync(join(folder, 'dump.rdb'), 'latin1').slice(0, 5), 'REDIS')
    const verification = ['verify', '--database', urlOf('parapet'), '--key', auditKey]
    const verified = await runProgram(join(folder, 'verify'), verification)
    t.equal(verified.code, 0, verified.stdout + verified.stderr)
    // The service saw a longer log before: it is not ready until its operator declares the loss.
    const startAgain = () => buildApp(readConfig(env), { log })
    const halted = await startAgain()
    await halted.audit.record('user.create', { resourceId: 'while halted' })
    t.equal((await halted.inject('/ready')).statusCode, 503)
    await halted.close()
    const recovery = ['recover', '--directory', env.AUDIT_DIR, '--yes']
    t.equal((await runProgram(join(folder, 'verify'), recovery)).code, 0)
    const app = await startAgain()
    await app.audit.flush()
    t.equal((await app.inject('/ready')).statusCode, 200)
    const { entries } = await app.audit.query({ filters: { action: 'audit_log.log_recovered' } })
    t.equal(entries.length, 1, 'the log says what is missing')
    await app.close()
    t.equal((await runProgram(join(folder, 'verify'), verification)).code, 0)
  })

  await t.test('a drill proves the newest backup, and leaves nothing behind', async (t) => {
    const before = await listDatabases(admin)
    // A drill that was killed last year.
    await admin.query('CREATE DATABASE parapet_drill_20200101000000_7')
    // An old backup under a name that sorts last, and that reads as a pattern.
    const replay = join(backups, 'backup-[2].*...T......Z')
    cpSync(backup, replay, { recursive: true })
    t.match((await restore(replay)).stderr, /another backup, renamed/)
    const { code, stdout, stderr } = await drill()
    rmSync(replay, { recursive: true })
    t.equal(code, 0, stderr)
    const report = JSON.parse(stdout) as Record<string, unknown>
    t.match(report, { drill: 'ok', backup: basename(backup), files: FILES })
    const content = readFileSync(join(backup, 'postgresql.content'), 'utf8')
    const counts = [...content.matchAll(/ (\d+) -?\d+$/gm)].map(([, count]) => Number(count))
    t.equal(
      report['rows'],
      counts.reduce((sum, count) => sum + count, 0),
    )
    t.ok(Number(report['rows']) > ROWS && Number(report['bytes']) > 0)
    t.comment(`restore drill: ${stdout.trim()}`)
    t.same(await listDatabases(admin), before)
    t.same(
      readdirSync(folder).filter((name) => name.startsWith('parapet-')),
      [],
      'no key stays in a temporary folder',
    )
  })

  await t.test(
    'a backup that was changed, cut or replaced is refused before anything is restored',
    async (t) => {
      const copy = join(folder, 'copies', basename(backup))
      const change = (edit: (folder: string) => void): void => {
        rmSync(join(folder, 'copies'), { recursive: true, force: true })
        cpSync(backup, copy, { recursive: true })
        edit(copy)
      }
      const edits: readonly [name: string, edit: (at: string) => void, message: RegExp][] = [
        ['a flipped byte', (at) => flip(join(at, 'postgresql.dump.gpg')), /missing or was changed/],
        ['a missing file', (at) => rmSync(join(at, 'files.tar.gz.gpg')), /missing or was changed/],
        [
          'another row count',
          (at) => flip(join(at, 'postgresql.content')),
          /missing or was changed/,
        ],
        ['an added file', (at) => writeFileSync(join(at, 'more.gpg'), 'x'), /does not name/],
        [
          'a changed manifest',
          (at) =>
            writeFileSync(
              join(at, 'manifest'),
              readFileSync(join(at, 'manifest'), 'utf8').replace('seconds', 'second'),
            ),
          /is not signed by/,
        ],
        ['no signature', (at) => rmSync(join(at, 'manifest.sig')), /no signed manifest/],
      ]
      for (const [name, edit, message] of edits) {
        change(edit)
        const { code, stderr } = await restore(copy)
        t.equal(code, 1, name)
        t.match(stderr, message, name)
      }
      change(() => {})
      const renamed = copy.replace(/T\d+Z$/, 'T000000Z')
      renameSync(copy, renamed)
      t.match((await restore(renamed)).stderr, /another backup, renamed/)
      t.match(
        (await restore(backup, { BACKUP_VERIFY_KEY: other.publicKey })).stderr,
        /is not signed by/,
      )
      t.match((await restore(backup)).stderr, /has \d+ tables: restore into an empty one/)
      await admin.query('CREATE DATABASE empty')
      const wrong = await restore(backup, {
        BACKUP_DECRYPT_KEY: other.privateKey,
        PGDATABASE: 'empty',
      })
      t.not(wrong.code, 0, 'another private key opens nothing')
      const tables = await runProgram(
        'psql',
        ['-AtX', '-c', "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"],
        { ...connection, PGDATABASE: 'empty' },
      )
      t.equal(tables.stdout.trim(), '0')
    },
  )

  await t.test('a restored audit log that was tampered with fails the drill', async (t) => {
    const pool = new Pool({ connectionString: urlOf('parapet'), max: 1 })
    await pool.query(
      "UPDATE audit_log_events SET leaf = replace(leaf, 'user.create', 'user.delete')",
    )
    await pool.end()
    const forged = join(folder, 'forged')
    t.equal((await backUp({ BACKUP_DIR: forged })).code, 0)
    const { code, stderr } = await drill({ BACKUP_DIR: forged })
    t.equal(code, 1)
    t.match(stderr, /the restored audit log is not valid/)
  })

  await t.test('old backups are removed, but never the newest ones', async (t) => {
    const names = Array.from({ length: 9 }, (_, index) => `backup-2020010${index + 1}T000000Z`)
    for (const name of names) mkdirSync(join(backups, name))
    mkdirSync(join(backups, 'backup-of-mine'))
    const { code, stderr } = await backUp({ KEEP_AT_LEAST: '3' })
    t.equal(code, 0, stderr)
    const left = readdirSync(backups)
      .filter((name) => name.startsWith('backup-'))
      .toSorted()
    t.ok(left.includes(basename(backup)) && left.includes('backup-of-mine'))
    t.same(
      left.filter((name) => name.startsWith('backup-2020')),
      names.slice(-1),
      'three stay in all',
    )
    t.match((await drill({ MAX_AGE_HOURS: '0' })).stderr, /older than 0 hours/)
  })

  await t.test('an archive of files that cannot be read to its end fails the drill', async (t) => {
    const at = join(folder, 'broken', basename(backup))
    cpSync(backup, at, { recursive: true })
    // Encrypted and signed as it should be, but no archive.
    cpSync(join(at, 'redis.rdb.gpg'), join(at, 'files.tar.gz.gpg'))
    const home = join(folder, 'signing')
    mkdirSync(home, { mode: 0o700 })
    const sign = `cd '${at}' && { grep '^#' manifest; sha256sum -- *.gpg *.content; } >'${home}/m' &&
      mv '${home}/m' manifest && gpg --homedir '${home}' --batch --import '${signature.privateKey}' &&
      gpg --homedir '${home}' --batch --yes --output manifest.sig --detach-sign manifest &&
      gpgconf --homedir '${home}' --kill all`
    const signed = await runProgram('bash', ['-c', sign], {})
    t.equal(signed.code, 0, signed.stderr)
    const { code, stdout, stderr } = await drill({ BACKUP_DIR: join(folder, 'broken') })
    t.not(code, 0, stdout)
    t.match(stderr, /FAILED: exit status/)
  })

  await t.test('a backup of the future is refused, because it would stay the newest', async (t) => {
    const future = join(folder, 'future')
    cpSync(backup, join(future, 'backup-29990101T000000Z'), { recursive: true })
    t.match((await drill({ BACKUP_DIR: future })).stderr, /is of the future/)
  })

  await t.test('time limits of the server do not end a backup', async (t) => {
    await admin.query('CREATE ROLE hurried SUPERUSER LOGIN')
    await admin.query("ALTER ROLE hurried SET idle_in_transaction_session_timeout = '1ms'")
    const { code, stderr } = await backUp({ PGUSER: 'hurried', BACKUP_DIR: join(folder, 'slow') })
    t.equal(code, 0, stderr)
  })

  const kept = () => [
    ...readdirSync(folder).filter((name) => name.startsWith('parapet-')),
    ...readdirSync(backups).filter((name) => name.startsWith('.partial')),
  ]
  await t.test('a server that never answers, and a signal, leave nothing behind', async (t) => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    t.after(() => silent.close())
    await once(silent, 'listening')
    const { port: silentPort } = silent.address() as AddressInfo
    const env = { PGPORT: String(silentPort), PGCONNECT_TIMEOUT: '2' }
    const hung = await backUp(env)
    t.equal(hung.code, 1)
    t.match(hung.stderr, /FAILED: PostgreSQL: .*timeout expired/)
    t.same(kept(), [])

    // As dumb-init does: the signal goes to the whole group.
    const child = spawn(join(scripts, 'backup.sh'), [], {
      detached: true,
      env: { ...process.env, ...scriptOf({ PGPORT: String(silentPort) }) },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const text: string[] = []
    const connected = once(silent, 'connection')
    child.stderr.on('data', (chunk: Buffer) => text.push(chunk.toString()))
    await connected
    t.ok(kept().length > 0, 'it runs')
    process.kill(-child.pid!, 'SIGTERM')
    const [code] = (await once(child, 'close')) as [number | null]
    t.equal(code, 143)
    t.match(text.join(''), /FAILED: exit status 143/)
    t.same(kept(), [])
  })

  await t.test('a backup that fails leaves no folder with a final name', async (t) => {
    const before = readdirSync(backups)
    for (const [env, message] of [
      [{ PGDATABASE: 'nowhere' }, /does not exist/],
      [{ REDIS_PORT: '1' }, /refused|FAILED|Could not connect/],
      [{ FILES_DIRS: '/nowhere' }, /is no folder/],
      [{ RETENTION_DAYS: '0' }, /integers from 1/],
      [{ BACKUP_ENCRYPT_KEY: '' }, /set BACKUP_ENCRYPT_KEY/],
      [{ PGDATABASE: 'empty' }, /no table/],
    ] as const) {
      const { code, stderr } = await backUp(env)
      t.not(code, 0)
      t.match(stderr, message)
    }
    t.same(
      readdirSync(backups).filter((name) => !name.startsWith('.')),
      before.filter((name) => !name.startsWith('.')),
    )
  })
}

async function listDatabases(admin: Pool): Promise<unknown> {
  const { rows } = await admin.query<{ name: string }>(
    'SELECT datname AS name FROM pg_database ORDER BY 1',
  )
  return rows
}

function flip(file: string): void {
  const bytes = readFileSync(file)
  bytes[Math.floor(bytes.length / 2)]! ^= 1
  writeFileSync(file, bytes)
}
