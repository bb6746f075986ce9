import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { auditLog, ephemeralDirectory, replaceLostKey } from '@parapet/audit-log'
import { createSqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import Fastify from 'fastify'
import t from 'tap'
import { createApp, keyOf, named, ORIGIN, recordsOf, useFolder, verify } from './support.ts'

const REFUSED = { code: 'PARAPET_AUDIT_LOG_KEY_LOST', statusCode: 500 }

await t.test('a lost key.pem is not replaced silently', async (t) => {
  const first = await createApp(t)
  const { folder } = first
  const lostKey = first.audit.verifierKey
  await first.audit.record('thing.act', {})
  await first.audit.flush()
  await first.close()
  rmSync(join(folder, 'key.pem'))
  await t.rejects(createApp(t, { directory: folder }), { ...REFUSED, message: /key\.pem/ })
  t.notOk(existsSync(join(folder, 'key.pem')))
  const told = await createApp(t, { directory: folder, key: replaceLostKey })
  await told.audit.record('thing.act', {})
  await told.close()
  const again = await createApp(t, { directory: folder, formerKeys: [lostKey] })
  t.equal((await recordsOf(again)).filter(({ action }) => action === 'thing.act').length, 2)
  const check = (await again.audit.doctor()).find((item) => item.check === 'checkpoint')
  t.match(check, { ok: true })
})

await t.test('a key.pem is not made beside records that wait in the spool', async (t) => {
  const folder = useFolder(t)
  const first = await createApp(t, { directory: folder, sequencer: false })
  await first.audit.record('thing.act', {})
  await first.close()
  rmSync(join(folder, 'key.pem'))
  await t.rejects(createApp(t, { directory: folder }), REFUSED)
})

await t.test('an instance with another key does not join the log of a fleet', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const sql = createSqlClient(postgres.pool)
  const first = await createApp(t, { sql })
  await first.audit.flush()
  await t.rejects(createApp(t, { sql, directory: useFolder(t) }), {
    code: 'PARAPET_AUDIT_LOG_KEY_UNUSABLE',
    statusCode: 500,
    message: /give all instances the same "key"/,
  })
})

await t.test(
  'after a rotation, records of the former key enter the log, and both keys verify it',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const sql = createSqlClient(postgres.pool)
    const old = await createApp(t, { sql, sequencer: false, alerts: [] })
    await old.audit.record('thing.act', {})
    await old.audit.flush()
    const { privateKey } = generateKeyPairSync('ed25519')
    const next = await createApp(t, { sql, key: privateKey, formerKeys: [keyOf(old)], alerts: [] })
    const records = await recordsOf(next)
    t.equal(records.filter(({ action }) => action === 'thing.act').length, 1)
    t.same(named(await verify(next.audit.parts.store, next.audit.verifierKey)), [])
  },
)

await t.test('the directory keeps itself out of a repository', async (t) => {
  const app = await createApp(t)
  t.equal(readFileSync(join(app.folder, '.gitignore'), 'utf8'), '*\n')
})

await t.test('an ephemeral directory is removed, and two of them do not meet', async (t) => {
  const folders: string[] = []
  for (let n = 0; n < 2; n++) {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(auditLog, { origin: ORIGIN, directory: ephemeralDirectory })
    folders.push(app.audit.parts.folder)
    await app.audit.record('thing.act', {})
    if (n === 1) await app.close()
  }
  t.not(folders[0], folders[1])
  t.ok(existsSync(folders[0]!))
  t.notOk(existsSync(folders[1]!))
})

await t.test(
  'hooks that run before the plugin are reported, and so is the public key',
  async (t) => {
    const lines: string[] = []
    const stream = { write: (line: string) => void lines.push(line) }
    const app = Fastify({ logger: { level: 'info', stream } })
    t.after(() => app.close())
    app.addHook('onRequest', async () => {})
    await app.register(auditLog, { origin: ORIGIN, directory: useFolder(t) })
    await app.ready()
    t.match(lines.join(''), /registered after 1 onRequest hook/)
    t.ok(lines.join('').includes(JSON.stringify(app.audit.verifierKey)))
  },
)

await t.test('a plugin that is registered first has nothing to report', async (t) => {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  const app = Fastify({ logger: { level: 'warn', stream } })
  t.after(() => app.close())
  await app.register(auditLog, { origin: ORIGIN, directory: useFolder(t) })
  await app.ready()
  t.notMatch(lines.join(''), /onRequest hook/)
})
