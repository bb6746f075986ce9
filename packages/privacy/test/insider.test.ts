import { createSqlClient, type SqlClient } from '@parapet/kit'
import { createMemoryLedger, type PrivacyOptions } from '@parapet/privacy'
import { usePostgres } from '@parapet/testing'
import t, { type Test } from 'tap'
import { createApp, fresh, openConfirmed, post, runTick, waitFor } from './helpers.ts'

const purposes = { mail: { title: 'Mail', noticeVersion: '1', noticeText: 'We send mail.' } }

async function build(t: Test, options: Partial<PrivacyOptions> = {}) {
  const postgres = await usePostgres(t)
  if (postgres === null) return null
  const sql = createSqlClient(postgres.pool)
  let runs = 0
  const test = await createApp(t, { sql, purposes, ...options }, (app) => {
    app.get('/news', { config: { consent: 'mail' } }, async () => {
      runs += 1
      return 'sent'
    })
  })
  return { ...test, sql, runs: () => runs }
}

/** Sets one member of a body, in whichever form it is stored. */
async function setMember(sql: SqlClient, id: string, member: string, value: unknown) {
  const { rows } = await sql.query<{ body: Record<string, unknown> & { text?: string } }>(
    'SELECT body FROM privacy_records WHERE id = $1',
    [id],
  )
  const { body } = rows[0]!
  const changed =
    body.text === undefined
      ? { ...body, [member]: value }
      : { ...body, text: JSON.stringify({ ...(JSON.parse(body.text) as object), [member]: value }) }
  await sql.query('UPDATE privacy_records SET body = $2 WHERE id = $1', [
    id,
    JSON.stringify(changed),
  ])
}

const damaged = { status: 500, body: { code: 'PARAPET_PRIVACY_RECORD_DAMAGED' } }

await t.test("an insider cannot make somebody else's archive his own", async (t) => {
  const test = await build(t)
  if (test === null) return
  test.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const id = await openConfirmed(test, 'ann', 'access')
  await test.until(id, 'ready')
  // Sending writes the record once more.
  await test.untilSent(id)
  const eve = test.app.privacy
  const own = await eve.request({ subject: 'eve', type: 'restriction' })
  await setMember(test.sql, id, 'reference', own.reference)
  const link = await test.send('eve', post(`/privacy/requests/${id}/link`, undefined, fresh))
  t.match(link, damaged)
  t.notOk(link.body.link)
})

await t.test('an insider cannot start an erasure that nobody confirmed', async (t) => {
  const test = await build(t)
  if (test === null) return
  test.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const opened = await test.send('ann', post('/privacy/requests', { type: 'erasure' }, fresh))
  await setMember(test.sql, opened.body.id, 'state', 'running')
  // A request after it in the list is looked at nevertheless.
  const other = await test.send('bob', post('/privacy/requests', { type: 'restriction' }))
  test.clock.advance(86_400_001)
  await runTick(test)
  t.equal((await test.app.privacy.findRequest(other.body.id))!.state, 'expired')
  await test.jobs.enqueue('privacy.run', { id: opened.body.id }, { key: 'k' })
  await waitFor(async () => (await test.jobs.find('privacy.run', 'k'))!.attempts > 0)
  t.same(test.tables.users.plans, [])
  t.match(await test.send('officer', '/privacy/admin/requests'), {
    status: 200,
    body: { items: [{ id: other.body.id }] },
  })
})

await t.test('an insider cannot give a consent, nor take back a withdrawal', async (t) => {
  const test = await build(t)
  if (test === null) return
  const { consents } = test.app.privacy
  const decision = { subject: 'ann', purpose: 'mail', by: 'subject' } as const
  await consents.record({ ...decision, state: 'granted' })
  const { id } = await consents.record({ ...decision, state: 'withdrawn' })
  await setMember(test.sql, id, 'state', 'granted')
  t.match(await test.send('ann', '/news'), damaged)
  t.equal(test.runs(), 0)
  // The row of another subject, copied.
  const other = await consents.record({ ...decision, subject: 'eve', state: 'granted' })
  await test.sql.query(
    `INSERT INTO privacy_records (kind, id, version, owner, topic, unique_key, time, body)
     SELECT kind, 'copied', version, $2, topic, NULL, time, body FROM privacy_records WHERE id = $1`,
    [other.id, 'bob'],
  )
  await test.sql.query(
    `UPDATE privacy_records SET owner = (
    SELECT owner FROM privacy_records WHERE id = $1) WHERE id = 'copied'`,
    [other.id],
  )
  t.match(await test.send('eve', '/news'), { status: 500 })
  t.equal(test.runs(), 0)
})

await t.test('an insider cannot lift a legal hold', async (t) => {
  const test = await build(t)
  if (test === null) return
  const hold = await test.app.privacy.holds.place({ subject: 'ann', reason: 'r', basis: 'b' })
  await setMember(test.sql, hold.id, 'releasedAt', 1)
  const { id } = await test.app.privacy.request({ subject: 'ann', type: 'erasure' })
  await waitFor(async () => (await test.jobs.find('privacy.run', id)) === null)
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.same(test.tables.users.plans, [], 'nothing was erased')
})

await t.test('an insider cannot mark an entry of the ledger as carried out', async (t) => {
  const ledger = createMemoryLedger()
  const first = await createApp(t, { ledger })
  const id = await openConfirmed(first, 'ann', 'erasure')
  await first.until(id, 'completed')
  const test = await build(t)
  if (test === null) return
  // The restored database, with the mark of the insider in it.
  await test.sql.query(
    `INSERT INTO privacy_records (kind, id, time, body) VALUES ('mark', $1, 0, '{}')`,
    [id],
  )
  test.tables.users.rows.set('ann', [{ email: 'ann@acme.example', note: 'n' }])
  const second = await createApp(t, {
    ledger,
    sql: test.sql,
    sources: [test.tables.users.source],
  })
  t.ok(second)
  t.match(test.tables.users.rows.get('ann'), [{ email: /@erased\.invalid$/, note: null }])
})

await t.test('texts that jsonb refuses are stored', async (t) => {
  const test = await build(t)
  if (test === null) return
  for (const reason of ['NUL \0 here', 'half \ud800 a pair', '\u212a \u0130']) {
    const body = { subject: 'ann', reason, basis: 'b' }
    const placed = await test.send('officer', post('/privacy/admin/holds', body))
    t.equal(placed.status, 201, JSON.stringify(reason))
  }
  test.tables.users.rows.set('ann', [{ 'na\0me': 'x', '\udfff': 'y', email: 'ann@acme.example' }])
  const id = await openConfirmed(test, 'ann', 'access')
  await test.until(id, 'ready')
})
