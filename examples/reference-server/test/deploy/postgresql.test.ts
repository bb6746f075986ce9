/** The settings, roles and grants of PostgreSQL, on a real server. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { grantsFor } from '@parapet/audit-log'
import { plainNode, startPostgres } from '@parapet/testing'
import { Client, Pool } from 'pg'
import t, { type Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config/environment.ts'
import { createLog } from '../../src/logging/log.ts'
import { deployFolder } from '../../deploy/check/all.ts'
import {
  createOpenFolder,
  giveTo,
  makeKey,
  prepareSecrets,
  runProgram,
  writeVerifier,
} from '../support/deploy.ts'

const log = createLog({ logLevel: 'silent' })
const read = (path: string): string => readFileSync(join(deployFolder, path), 'utf8')
const secrets = await prepareSecrets(t, 'postgres')
const ssl = { ca: secrets.ca, servername: 'postgres' }
const passwordOf = (role: string): string =>
  secrets.read(`password-${role.replace('parapet_', '')}`)
const urlOf = (port: number, role: string, options = 'sslmode=verify-full'): string =>
  `postgres://${role}:${passwordOf(role)}@localhost:${port}/parapet?${options}&sslrootcert=${secrets.folder}/ca.crt`

// Within a test: the connections that it keeps open are closed at its end.
await t.test('PostgreSQL with the settings of deploy', async (t) => {
  const database = await startHardened(t)
  if (database !== null) await runTests(t, database)
})

/** Starts a server, makes the roles, and switches it to the settings of deploy. */
async function startHardened(t: Test) {
  const server = await startPostgres(t)
  if (server === null) return null
  const admin = new Pool({ connectionString: server.url, max: 2 })
  t.after(() => admin.end())
  const psql = (...args: string[]) =>
    runProgram('psql', [
      '--no-psqlrc',
      '--set=ON_ERROR_STOP=1',
      '--quiet',
      `--dbname=${server.url}`,
      ...args,
    ])
  // Twice: it is repeatable.
  for (const _ of [1, 2]) {
    const made = await psql(`--file=${join(deployFolder, 'postgresql/roles.sql')}`)
    t.equal(made.code, 0, made.stderr)
  }
  t.equal((await psql(`--file=${join(secrets.folder, 'passwords.sql')}`)).code, 0)

  const { rows } = await admin.query<{ data_directory: string }>('SHOW data_directory')
  const data = rows[0]!.data_directory
  const own = (name: string, text: string): string => {
    const file = join(data, name)
    writeFileSync(file, text, { mode: 0o600 })
    giveTo(file, join(data, 'PG_VERSION'))
    return file
  }
  for (const name of ['postgres.crt', 'postgres.key']) own(name, secrets.read(name))
  const settings = read('postgresql/postgresql.conf').replaceAll('/run/secrets/', `${data}/`)
  writeFileSync(
    join(data, 'postgresql.conf'),
    `${readFileSync(join(data, 'postgresql.conf'), 'utf8')}\n${settings}`,
  )
  own('pg_hba.conf', read('postgresql/pg_hba.conf'))
  // A connection that is open stays open: the superuser goes on.
  const root = await admin.connect()
  await root.query('SELECT pg_reload_conf()')
  // The connection reads the new settings when the signal of the postmaster arrives.
  const isReloaded = async () =>
    (await root.query<{ ssl: string }>('SHOW ssl')).rows[0]!.ssl === 'on'
  for (let tries = 0; tries < 10_000 && !(await isReloaded()); tries++);
  const faults = await root.query<{ name: string; error: string }>(
    "SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL AND error <> 'setting could not be applied'",
  )
  t.same(faults.rows, [], 'every setting is known, and has a value that it can have')
  const hba = await root.query('SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL')
  t.same(hba.rows, [], 'every line of pg_hba.conf is valid')
  t.after(async () => root.release())
  return { port: server.port, root }
}

type Hardened = NonNullable<Awaited<ReturnType<typeof startHardened>>>

async function connect(t: Test, port: number, role: string): Promise<Client> {
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: role,
    password: passwordOf(role),
    database: 'parapet',
    ssl,
  })
  await client.connect()
  t.after(() => client.end())
  return client
}

async function refusalOf(port: number, options: object): Promise<string> {
  const client = new Client({
    host: '127.0.0.1',
    port,
    database: 'parapet',
    user: 'parapet_app',
    ...options,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    return 'connected'
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).message
  } finally {
    await client.end().catch(() => {})
  }
}

/** The keys of a production server. */
async function makeKeys(): Promise<Record<string, string>> {
  const { stdout } = await runProgram(process.execPath, [
    '--import=./scripts/ts.mjs',
    '--conditions=@parapet/source',
    'examples/reference-server/src/config/print-keys.ts',
  ])
  const lines = stdout.split('\n').filter((line) => /^[A-Z_]+=/.test(line))
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
}

async function runTests(t: Test, { port, root }: Hardened): Promise<void> {
  let verifierKey = ''

  await t.test('a connection without TLS or with another password is refused', async (t) => {
    const password = passwordOf('parapet_app')
    t.equal(await refusalOf(port, { password, ssl }), 'connected')
    t.equal(await refusalOf(port, { password, ssl: false }), '28000', 'no entry without TLS')
    t.equal(await refusalOf(port, { password: 'other', ssl }), '28P01')
    t.equal(
      await refusalOf(port, { password, user: 'postgres', ssl }),
      '28000',
      'no superuser from elsewhere',
    )
    t.equal(
      await refusalOf(port, { password, database: 'postgres', ssl }),
      '28000',
      'no other database',
    )
    t.match(
      await refusalOf(port, { password, ssl: { servername: 'postgres' } }),
      /SELF_SIGNED|UNABLE_TO/,
    )
    t.match(
      await refusalOf(port, { password, ssl: { ...ssl, maxVersion: 'TLSv1.2' } }),
      /PROTOCOL|EPROTO|ECONNRESET/,
    )
    const { rows } = await root.query<{ stored: string }>(
      "SELECT left(rolpassword, 14) AS stored FROM pg_authid WHERE rolname LIKE 'parapet%' AND rolcanlogin",
    )
    t.ok(rows.length >= 5 && rows.every(({ stored }) => stored === 'SCRAM-SHA-256$'), 'SCRAM only')
  })

  await t.test('each role has its rights and no more', async (t) => {
    const keys = await makeKeys()
    t.ok(keys['AUDIT_KEY'], 'the keys were made')
    const env = {
      ...keys,
      DATABASE_URL: urlOf(port, 'parapet_migrator'),
      DATA_DIR: secrets.folder,
      NODE_ENV: 'production',
    }
    // The job before a release: the tables, then the grants, twice.
    const [node, args] = plainNode([
      fileURLToPath(new URL('../../src/main.ts', import.meta.url)),
      'migrate',
    ])
    for (const _ of [1, 2]) {
      const job = await runProgram(node, args, {
        ...env,
        AUDIT_DIR: join(secrets.folder, 'migration'),
      })
      t.equal(job.code, 0, job.stderr)
      t.match(job.stdout, /the database is up to date, and the rights are granted/)
    }

    const app = await buildApp(
      readConfig({
        ...env,
        DATABASE_URL: urlOf(port, 'parapet_app'),
        AUDIT_DIR: join(secrets.folder, 'server'),
      }),
      { log },
    )
    t.after(() => app.close())
    const ready = await app.inject('/ready')
    t.equal(ready.statusCode, 200, ready.body)
    verifierKey = app.audit.verifierKey
    await app.audit.record('drill.run', { resourceId: 'grants' })
    await app.audit.flush()
    const roles = (await app.audit.doctor()).find(({ check }) => check === 'roles')
    t.equal(roles?.ok, true, 'the audit log is content with the rights')

    const server = await connect(t, port, 'parapet_app')
    const auditor = await connect(t, port, 'parapet_auditor')
    const backup = await connect(t, port, 'parapet_backup')
    await server.query('SELECT count(*) FROM users')
    t.equal(
      (await auditor.query("SELECT 1 FROM audit_log_events WHERE resource_id = 'grants'")).rowCount,
      1,
    )
    await backup.query('SELECT count(*) FROM users')
    for (const [client, sql] of [
      [server, 'CREATE TABLE extra (id integer)'],
      [server, 'CREATE TEMPORARY TABLE extra (id integer)'],
      [server, 'ALTER TABLE users ADD COLUMN extra text'],
      [server, 'DROP TABLE users'],
      [server, 'TRUNCATE users'],
      [server, "UPDATE audit_log_events SET action = 'x'"],
      [server, 'UPDATE audit_log_inbox SET leaf = leaf'],
      [server, "INSERT INTO parapet_migrations VALUES ('a', 'b', 'c')"],
      [server, 'DELETE FROM parapet_migrations'],
      [server, "SELECT pg_read_file('PG_VERSION')"],
      [auditor, 'SELECT count(*) FROM users'],
      [auditor, 'SELECT count(*) FROM mfa_accounts'],
      [auditor, 'DELETE FROM audit_log_events'],
      [backup, 'DELETE FROM users'],
      [backup, 'CREATE TABLE extra (id integer)'],
    ] as const) {
      const refusal = await client.query(sql).then(
        () => 'done',
        (error: { code?: string }) => error.code,
      )
      // 25006: the role is read-only by default, and has no right either.
      t.ok(refusal === '42501' || refusal === '25006', `${sql}: ${String(refusal)}`)
    }
  })

  await t.test('backup and restore drill work over TLS with the roles of deploy', async (t) => {
    const folder = createOpenFolder(t)
    const [encryption, signature] = [
      await makeKey(folder, 'backup', 'encr'),
      await makeKey(folder, 'signer', 'sign'),
    ]
    writeFileSync(join(folder, 'audit.pub'), verifierKey)
    writeVerifier(join(folder, 'verify'))
    const env = {
      PGHOST: 'localhost',
      PGPORT: String(port),
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: join(secrets.folder, 'ca.crt'),
      NODE_EXTRA_CA_CERTS: join(secrets.folder, 'ca.crt'),
      PGPASSFILE: join(secrets.folder, 'pgpass'),
      TMPDIR: folder,
      BACKUP_DIR: join(folder, 'backups'),
      BACKUP_ENCRYPT_KEY: encryption.publicKey,
      BACKUP_SIGN_KEY: signature.privateKey,
      BACKUP_VERIFY_KEY: signature.publicKey,
      BACKUP_DECRYPT_KEY: encryption.privateKey,
      AUDIT_VERIFY: join(folder, 'verify'),
      AUDIT_PUBLIC_KEY: join(folder, 'audit.pub'),
    }
    const owner = await connect(t, port, 'parapet_migrator')
    await owner.query(`CREATE TABLE notes (id integer);
      INSERT INTO notes SELECT generate_series(1, 9);
      ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
      ALTER TABLE notes FORCE ROW LEVEL SECURITY;
      CREATE POLICY hidden ON notes USING (false);
      GRANT SELECT ON notes TO parapet_rows; GRANT USAGE ON SCHEMA public TO parapet_rows`)
    const server = await connect(t, port, 'parapet_app')
    await server.query('SET ROLE parapet_rows')
    const { rowCount } = await server.query('SELECT 1 FROM notes')
    t.equal(rowCount, 0, 'on behalf of a user, the server sees no row of others')
    await t.rejects(server.query('SELECT 1 FROM mfa_accounts'), { code: '42501' })
    // As Kubernetes mounts it: readable by the group, which PostgreSQL's tools refuse.
    chmodSync(env.PGPASSFILE, 0o440)
    const run = (script: string, more: Record<string, string>) =>
      runProgram(join(deployFolder, 'backup', script), [], { ...env, ...more })
    const made = await run('backup.sh', { PGUSER: 'parapet_backup', PGDATABASE: 'parapet' })
    t.equal(made.code, 0, made.stderr)
    t.match(
      readFileSync(join(made.stdout.trim(), 'postgresql.content'), 'utf8'),
      /public\.notes 9 /,
    )
    const drill = await run('restore-drill.sh', { PGUSER: 'parapet_drill' })
    t.equal(drill.code, 0, drill.stderr)
    t.match(JSON.parse(drill.stdout), { drill: 'ok' })
    const other = await run('backup.sh', { PGUSER: 'parapet_auditor', PGDATABASE: 'parapet' })
    t.match(other.stderr, /permission denied/, 'only the role of backups may')
  })

  await t.test('the grants of the audit log are those of the package', async (t) => {
    const roles = { writer: 'parapet_app', reader: 'parapet_auditor', sequencer: 'parapet_app' }
    for (const line of grantsFor(roles).split('\n'))
      t.ok(read('postgresql/grants.sql').includes(line), line)
  })
}
