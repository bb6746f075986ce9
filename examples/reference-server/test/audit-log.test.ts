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
  const { ask, refuse, register } = createClient(app, database)
  const { id } = await register('viewer')
  const admin = await signIn(app, 'admin')
  t.equal((await ask(admin, 'DELETE', `/api/v1/users/${id}`)).status, 204)
  await refuse(t, unauthenticated, {}, 'GET', '/api/v1/audit/events')
  await refuse(t, denied, await signIn(app, 'editor'), 'GET', '/api/v1/audit/events')
  t.equal((await ask(admin, 'GET', '/api/v1/audit/events')).status, 200)
  await app.close()

  const restarted = await start()
  t.after(() => restarted.close())
  const { entries } = await restarted.audit.query({ filters: { action: 'user.*' } })
  const change = { resource: 'user', resourceId: id, result: 'success' }
  t.match(
    entries.map(({ record }) => record),
    [
      { action: 'user.delete', phase: 'outcome', result: 'success', resourceId: id },
      { action: 'user.delete', ...change, changes: Array },
      { action: 'user.delete', phase: 'attempt' },
      { action: 'user.register', route: 'POST /api/v1/users' },
      { action: 'user.create', ...change, changes: [{ path: '/roles', to: ['viewer'] }] },
    ],
  )
  t.match(await restarted.audit.status(), { storeIsUp: true, halted: null })
})

await t.test('records of users have roles before and after, and no personal values', async (t) => {
  const app = await start()
  t.after(() => app.close())
  const { ask, register } = createClient(app, database)
  const admin = await signIn(app, 'admin')
  const { id, headers } = await register('viewer')
  const changesOf = async (action: string) => {
    await app.audit.flush()
    const { entries } = await app.audit.query({ filters: { action, resourceId: id } })
    return entries.flatMap(({ record }) => record.changes ?? [])
  }
  const url = `/api/v1/users/${id}`
  t.equal((await ask(headers, 'PATCH', url, { displayName: 'Anna Secret' })).status, 200)
  t.same(await changesOf('user.update'), [{ path: '/displayName' }])
  t.equal((await ask(admin, 'PUT', `${url}/roles`, { roles: ['editor'] })).status, 200)
  t.same(await changesOf('user.grant'), [{ path: '/roles', from: ['viewer'], to: ['editor'] }])
  t.equal((await ask(admin, 'DELETE', url)).status, 204)
  t.same(await changesOf('user.delete'), [
    { path: '/displayName' },
    { path: '/email' },
    { path: '/roles', from: ['editor'] },
  ])
})

await t.test('a change that is refused leaves an outcome and no changes', async (t) => {
  const app = await start()
  t.after(() => app.close())
  const { ask, register } = createClient(app, database)
  const { id, headers } = await register('viewer')
  const url = `/api/v1/users/${id}`
  const late = await ask({ ...headers, 'if-match': '"7"' }, 'PATCH', url, { displayName: 'B' })
  t.equal(late.status, 412)
  await app.audit.flush()
  const filters = { action: 'user.update', resourceId: id }
  const { entries } = await app.audit.query({ filters })
  t.equal(entries.length, 1)
  const errorCode = 'PARAPET_REFERENCE_VERSION_MISMATCH'
  t.match(entries[0]!.record, { result: 'failure', errorCode, principal: id })
})
