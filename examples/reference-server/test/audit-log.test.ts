/** The audit log of the service: which requests are recorded, and who may read the records. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { createLog } from '../src/logging/log.ts'
import { signIn } from './support/sign-in.ts'
import { createClient, denied, openDatabase, unauthenticated } from './support/test-app.ts'

const database = await openDatabase(t)
const directory = mkdtempSync(join(tmpdir(), 'audit-'))
t.after(() => rmSync(directory, { recursive: true, force: true }))

const start = () =>
  buildApp(readConfig({ AUDIT_DIR: directory }), {
    sql: database.sql,
    log: createLog({ logLevel: 'silent' }),
  })

await t.test('changes of users are recorded, and the records survive a restart', async (t) => {
  const app = await start()
  const { ask, refuse } = createClient(app, database)
  const user = { email: 'press@example.com', displayName: 'Press' }
  const created = await ask({}, 'POST', '/users', user)
  t.equal(created.status, 201)
  const { id } = created.body
  const admin = await signIn(app, 'admin')
  t.equal((await ask(admin, 'DELETE', `/users/${String(id)}`)).status, 204)
  await refuse(t, unauthenticated, {}, 'GET', '/audit/events')
  await refuse(t, denied, await signIn(app, 'editor'), 'GET', '/audit/events')
  t.equal((await ask(admin, 'GET', '/audit/events')).status, 200)
  await app.close()

  const restarted = await start()
  t.after(() => restarted.close())
  const { entries } = await restarted.audit.query({ filters: { action: 'user.*' } })
  t.match(
    entries.map(({ record }) => record),
    [
      { action: 'user.delete', phase: 'outcome', result: 'success', resourceId: id },
      { action: 'user.delete', phase: 'attempt' },
      { action: 'user.create', route: 'POST /users' },
    ],
  )
  t.match(await restarted.audit.status(), { storeIsUp: true, halted: null })
})
