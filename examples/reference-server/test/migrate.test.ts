/** `migrate` as a step before the start of a new version. */
import { usePostgres } from '@parapet/testing'
import t from 'tap'
import { spawnServer, startServer } from './support/server-process.ts'

await t.test('migrate is a step of its own: idempotent, and beside a running server', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const env = { DATABASE_URL: postgres.url }
  const migrate = async () => {
    const { exited, output } = spawnServer(t, env, [], ['migrate'])
    t.equal((await exited)[0], 0, output())
    return output()
  }
  const both = await Promise.all([migrate(), migrate()])
  const applied = both.filter((text) => text.includes('applied database migrations'))
  t.equal(applied.length, 1, 'one of two writers applied the migrations')
  const readLedger = async () =>
    (await postgres.pool.query<object>('SELECT * FROM parapet_migrations ORDER BY package, id'))
      .rows
  const ledger = await readLedger()
  t.ok(ledger.length > 10)
  const server = await startServer(t, env)
  t.same(await readLedger(), ledger, 'the start had nothing left to do')
  t.match(await migrate(), 'the database is up to date')
  t.same(await readLedger(), ledger)
  t.equal((await fetch(`${server.url}/ready`)).status, 200)
})
