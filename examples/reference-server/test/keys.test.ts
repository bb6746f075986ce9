/** Keys: `npm run keys`, the refusal of a production server without them, and one log for a fleet. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { usePostgres } from '@parapet/testing'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { keyMembers } from '../src/config/required-keys.ts'
import { createLog } from '../src/logging/log.ts'
import { spawnServer } from './support/server-process.ts'
import { artist, createDataFolder, createMemoryLog } from './support/test-app.ts'
import { signIn } from './support/sign-in.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'keys'], { cwd: root })
const lines = stdout.trimEnd().split('\n')
const keys: Readonly<Record<string, string>> = Object.fromEntries(
  lines
    .filter((line) => !line.startsWith('#'))
    .map((line): [string, string] => [
      line.slice(0, line.indexOf('=')),
      line.slice(line.indexOf('=') + 1),
    ]),
)
const DATABASE_URL = 'postgres://db.invalid/app'

await t.test('npm run keys prints one line for each key, for every kind of env file', async (t) => {
  t.same(Object.keys(keys), Object.keys(keyMembers))
  for (const value of Object.values(keys)) t.match(value, /^[\w:+/=-]{40,}$/, 'needs no quotes')
  t.match(stdout, /^#.*umask 077.*keys\.env/m)
  t.match(readConfig(keys), {
    fieldKeyset: /^\{"primaryKeyId":/,
    auditKey: /^-----BEGIN PRIVATE KEY-----\n/,
    signingKey: /^-----BEGIN PRIVATE KEY-----\n/,
  })
})

await t.test('a production server on PostgreSQL refuses to start without a key', async (t) => {
  const code = 'PARAPET_REFERENCE_KEYS_MISSING'
  for (const production of [
    { NODE_ENV: 'production' },
    { PUBLIC_URL: 'https://api.example.com' },
  ]) {
    const env = { ...production, DATABASE_URL }
    t.throws(() => readConfig(env), { code, message: 'npm run --silent keys' })
    for (const name of Object.keys(keyMembers)) {
      t.throws(() => readConfig({ ...env, ...keys, [name]: '' }), {
        code,
        message: `variables ${name}.`,
      })
    }
    t.ok(readConfig({ ...env, ...keys }))
    t.ok(readConfig(production), 'the embedded database has saved keys')
  }
  t.ok(readConfig({ DATABASE_URL, NODE_ENV: 'development' }))
  const { exited, output } = spawnServer(t, { DATABASE_URL, NODE_ENV: 'production' })
  t.same((await exited)[0], 1)
  t.match(
    output(),
    /^A production server .* FIELD_KEYSET, MFA_KEYS, PRIVACY_KEYS, PRIVACY_SECRET, AUDIT_KEY/,
  )
})

await t.test(
  'two instances with the same keys share one audit log and read the data',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const { log, text } = createMemoryLog()
    const folder = createDataFolder(t)
    const start = (name: string, log = createLog({ logLevel: 'silent' })) => {
      const DATA_DIR = `${folder}/${name}`
      const env = { DATABASE_URL: postgres.url, NODE_ENV: 'production', DATA_DIR }
      return buildApp(readConfig({ ...env, ...keys }), { log })
    }
    const [first, second] = [await start('first', log), await start('second')]
    t.after(() => Promise.all([first.close(), second.close()]))
    const headers = await signIn(first, 'admin')
    const payload = { ...artist, phone: '+493012345678' }
    const made = await first.inject({ method: 'POST', url: '/api/v1/artists', payload, headers })
    t.equal(made.statusCode, 201)
    // Sessions are in the memory of each instance here; a fleet shares them in Redis.
    const reader = await signIn(second, 'admin')
    const read = await second.inject({ url: String(made.headers.location), headers: reader })
    t.match([read.statusCode, read.json()], [200, payload], 'the number can be decrypted')
    t.equal(second.audit.verifierKey, first.audit.verifierKey)
    await first.audit.flush()
    const { entries } = await second.audit.query({ filters: { action: 'artist.create' } })
    t.match(entries[0], { record: { resourceId: made.json<{ id: string }>().id } })
    for (const value of Object.values(keys)) t.notOk(text().includes(value), 'no key is logged')
  },
)
