/** Secrets that change under load: no request fails, and the former values stop working. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { addPrimaryKey, exportKeyset, generateKeyset, parseKeyset } from '@parapet/field-encryption'
import { createManualClock, createMemoryJobs } from '@parapet/kit'
import { rotateApiKeys, type WritableProvider } from '@parapet/secrets'
import { usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import { Pool } from 'pg'
import t, { type Test } from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { withSecretFiles } from '../src/config/secret-files.ts'
import { signIn } from './support/sign-in.ts'
import {
  artist,
  createDataFolder,
  createMemoryLog,
  createTestApp,
  openDatabase,
} from './support/test-app.ts'

const newPem = () =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

/** A volume as Kubernetes mounts it. */
function createVolume(t: Test) {
  const directory = createDataFolder(t)
  let generation = 0
  return {
    directory,
    write(files: Readonly<Record<string, string>>) {
      const name = `..${generation++}`
      mkdirSync(join(directory, name))
      for (const [file, text] of Object.entries(files)) {
        writeFileSync(join(directory, name, file), text, { mode: 0o440 })
        if (generation === 1) symlinkSync(`..data/${file}`, join(directory, file))
      }
      symlinkSync(name, join(directory, '..tmp'))
      renameSync(join(directory, '..tmp'), join(directory, '..data'))
    },
  }
}

/** Sends requests until it is stopped, and counts what is not a success. */
function load(requests: readonly (() => Promise<number>)[]) {
  const state = { isOn: true, sent: 0, failed: [] as number[] }
  const workers = requests.map(async (request) => {
    while (state.isOn) {
      const status = await request()
      state.sent++
      if (status >= 300) state.failed.push(status)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  return {
    state,
    async stop() {
      state.isOn = false
      await Promise.all(workers)
      return state
    },
    /** Waits for some more requests. */
    async more(count = 30) {
      const until = state.sent + count
      while (state.sent < until) await new Promise((resolve) => setTimeout(resolve, 2))
    },
  }
}

async function rotated(app: FastifyInstance, secret: string): Promise<void> {
  await new Promise<void>((resolve) => {
    const stop = app.securityEvents.on('secrets.rotated', ({ details }) => {
      if (details.secret !== secret) return
      stop()
      resolve()
    })
  })
}

await t.test(
  'the signing key and the keyset of fields rotate under load: no request fails',
  async (t) => {
    const database = await openDatabase(t)
    const volume = createVolume(t)
    const keyset = generateKeyset()
    const files = { SIGNING_KEY: newPem(), FIELD_KEYSET: exportKeyset(keyset) }
    volume.write(files)
    const env = {
      SECRETS_DIR: volume.directory,
      SESSION_SECRET: randomBytes(32).toString('base64url'),
    }
    const clock = createManualClock(Date.now())
    const { log, text } = createMemoryLog()
    const config = readConfig(await withSecretFiles(env))
    const app = await buildApp(config, { sql: database.sql, log, clock })
    t.after(() => app.close())
    const headers = await signIn(app, 'admin')
    const phone = '+34600000000'
    const create = async () =>
      (
        await app.inject({
          method: 'POST',
          url: '/api/v1/artists',
          headers,
          payload: { ...artist, phone },
        })
      ).statusCode
    const list = async () => (await app.inject({ url: '/api/v1/artists', headers })).statusCode
    const running = load([create, list, list])
    await running.more()
    const kids = async () =>
      (await app.inject('/.well-known/jwks.json'))
        .json<{ keys: { kid: string }[] }>()
        .keys.map(({ kid }) => kid)
    const [oldKid] = await kids()

    const signing = rotated(app, 'SIGNING_KEY')
    const sealing = rotated(app, 'FIELD_KEYSET')
    const nextKeyset = addPrimaryKey(keyset)
    const keepAlive = setInterval(() => {}, 1000)
    t.after(async () => clearInterval(keepAlive))
    volume.write({ SIGNING_KEY: newPem(), FIELD_KEYSET: exportKeyset(nextKeyset) })
    await Promise.all([signing, sealing])
    await running.more()
    t.equal((await kids()).length, 2, 'the new key is published')
    t.equal((await kids())[0], oldKid, 'and does not sign yet')
    clock.advance(120_000)
    await running.more()
    t.not((await kids())[0], oldKid, 'it signs two minutes later')
    const later = await signIn(app, 'admin')
    t.equal((await app.inject({ url: '/api/v1/users', headers: later })).statusCode, 200)
    const { rows } = await database.sql.query<{ phone: string }>(
      'SELECT phone FROM artists ORDER BY id DESC LIMIT 1',
    )
    t.ok(rows[0]!.phone.startsWith('pe1.'))

    // A keyset that lost the key of existing rows is refused, and the former one stays.
    const failed = new Promise<string>((resolve) => {
      app.securityEvents.on('secrets.rotation_failed', ({ details }) => resolve(details.secret))
    })
    volume.write({ ...files, FIELD_KEYSET: exportKeyset(generateKeyset()) })
    t.equal(await failed, 'FIELD_KEYSET')
    await running.more()
    const { sent, failed: failures } = await running.stop()
    t.same(failures, [], `${sent} requests`)
    t.ok(sent > 100)
    const all = await app.inject({ url: '/api/v1/artists?limit=100', headers })
    const { items } = all.json<{ items: { phone: string }[] }>()
    t.ok(items.length > 10 && items.every((item) => item.phone === phone), 'every row can be read')
    for (const pem of [files.SIGNING_KEY, exportKeyset(nextKeyset)]) {
      t.notMatch(text(), pem.slice(40, 80))
    }
    t.ok(parseKeyset(exportKeyset(nextKeyset)))
    await database.clear()
  },
)

await t.test('the password of PostgreSQL rotates under load: no request fails', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const { pool, schema } = postgres
  const role = `${schema.slice(0, 40)}_app`
  const setPassword = (password: string) => pool.query(`ALTER ROLE ${role} PASSWORD '${password}'`)
  await pool.query(`CREATE ROLE ${role} LOGIN SUPERUSER`)
  t.after(async () => {
    const admin = new Pool({ connectionString: postgres.url })
    await admin.query(`REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP ROLE ${role}`)
    await admin.end()
  })
  const urlOf = (password: string) => {
    const url = new URL(postgres.url)
    url.username = role
    url.password = password
    return url.href
  }
  const [first, second] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')]
  await setPassword(first)
  const volume = createVolume(t)
  volume.write({ DATABASE_URL: urlOf(first) })
  const env = { SECRETS_DIR: volume.directory, DATA_DIR: join(volume.directory, 'data') }
  const { log, text } = createMemoryLog()
  const app = await buildApp(readConfig(await withSecretFiles(env)), { log })
  t.after(() => app.close())
  const headers = await signIn(app, 'admin')
  const list = async () => (await app.inject({ url: '/api/v1/artists', headers })).statusCode
  const create = async () =>
    (await app.inject({ method: 'POST', url: '/api/v1/artists', headers, payload: artist }))
      .statusCode
  const running = load([list, create, list])
  await running.more()
  const keepAlive = setInterval(() => {}, 1000)
  t.after(async () => clearInterval(keepAlive))
  // A wrong address first: it is refused, and the former one stays.
  const failed = new Promise<void>((resolve) => {
    app.securityEvents.on('secrets.rotation_failed', () => resolve())
  })
  const unreachable = new URL(urlOf(second))
  unreachable.port = '9'
  volume.write({ DATABASE_URL: unreachable.href })
  await failed
  await running.more()
  const done = rotated(app, 'DATABASE_URL')
  await setPassword(second)
  volume.write({ DATABASE_URL: urlOf(second) })
  await done
  await running.more()
  const { sent, failed: failures } = await running.stop()
  t.same(failures, [], `${sent} requests`)
  t.notMatch(text(), new RegExp(`${first}|${second}`))
})

await t.test('an API key rotates under load: no request fails, and the old one ends', async (t) => {
  const database = await openDatabase(t)
  const clock = createManualClock(Date.now())
  const { app, register } = await createTestApp(t, database)
  const { id: ownerId } = await register('viewer')
  const created = await app.sessions.apiKeys.create({
    ownerId,
    name: 'partner',
    scopes: ['users:read'],
  })
  let record: Record<string, string> = { current: created.text }
  let version = 1
  const provider: WritableProvider = {
    name: 'memory',
    read: async () => ({ value: record['current']!, version: String(version) }),
    readRecord: async () => ({ record, version: String(version) }),
    async writeRecord(_path, next) {
      record = { ...next }
      return String(++version)
    },
  }
  const ask = async (key: string) =>
    (await app.inject({ url: '/api/v1/artists', headers: { authorization: `Bearer ${key}` } }))
      .statusCode
  t.equal(await ask(created.text), 200)
  const jobs = createMemoryJobs({ clock, onNotice() {} })
  const rotation = rotateApiKeys({
    name: 'PARTNER',
    path: 'partner',
    graceMs: 60_000,
    provider,
    jobs,
    clock,
    generate: async () =>
      (
        await app.sessions.apiKeys.create({
          ownerId,
          name: 'partner',
          roles: ['viewer'],
          scopes: ['users:read'],
        })
      ).text,
    update: async () => {},
    verify: (key) =>
      key.use(async (text) => {
        if ((await ask(text)) !== 200) throw new Error('the new key is refused')
      }),
    retire: (key) =>
      key.use(async (text) => {
        const found = await app.sessions.apiKeys.verify(text)
        if (found !== null) await app.sessions.apiKeys.revoke(found.id)
      }),
  })
  await jobs.start()
  const running = load([() => ask(record['current']!), () => ask(record['current']!)])
  await running.more()
  await rotation.rotate()
  const step = async (wanted: string) => {
    while ((await rotation.status()).step !== wanted) {
      clock.advance(1000)
      await running.more(5)
    }
  }
  await step('promoted')
  t.equal(await ask(created.text), 200, 'the old key works in the grace period')
  await step('idle')
  await running.more()
  const { sent, failed } = await running.stop()
  t.same(failed, [], `${sent} requests`)
  t.equal(await ask(created.text), 401, 'the old key has ended')
  t.equal(await ask(record['current']!), 200)
  await jobs.close()
})
