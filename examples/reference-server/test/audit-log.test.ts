/** The audit log in this service: what is recorded, and who may read it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { createSqlClient } from '@parapet/kit'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config.ts'
import { createLog } from '../src/logging.ts'
import { signIn } from './sign-in.ts'

const pglite = await PGlite.create()
const directory = mkdtempSync(join(tmpdir(), 'audit-'))
t.teardown(async () => {
  await pglite.close()
  rmSync(directory, { recursive: true, force: true })
})

const start = () =>
  buildApp(readConfig({ AUDIT_DIR: directory }), {
    sql: createSqlClient(pglite),
    log: createLog({ logLevel: 'silent' }),
  })

await t.test('what is done to a user is recorded, and survives the process', async (t) => {
  const app = await start()
  const made = await app.inject({
    method: 'POST',
    url: '/users',
    payload: { email: 'press@example.com', displayName: 'Press' },
  })
  t.equal(made.statusCode, 201)
  const { id } = made.json<{ id: string }>()
  const headers = await signIn(app, 'admin')
  t.equal((await app.inject({ method: 'DELETE', url: `/users/${id}`, headers })).statusCode, 204)
  t.equal((await app.inject('/audit/events')).statusCode, 401, 'nobody reads it unasked')
  const editor = await signIn(app, 'editor')
  t.equal((await app.inject({ url: '/audit/events', headers: editor })).statusCode, 403)
  t.equal((await app.inject({ url: '/audit/events', headers })).statusCode, 200)
  await app.close()

  const again = await start()
  t.teardown(() => again.close())
  const { entries } = await again.audit.query({ filters: { action: 'user.*' } })
  t.match(
    entries.map(({ record }) => record),
    [
      { action: 'user.delete', phase: 'outcome', result: 'success', resourceId: id },
      { action: 'user.delete', phase: 'attempt' },
      { action: 'user.create', route: 'POST /users' },
    ],
  )
  t.match(await again.audit.status(), { storeIsUp: true, halted: null })
})
