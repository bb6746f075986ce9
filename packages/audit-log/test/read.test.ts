import { createSqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { matchesFilter, readFilter } from '../src/record/filter.ts'
import { projectRecord } from '../src/record/projection.ts'
import { createApp, recordsOf } from './support.ts'

/** An app on a directory and, if PostgreSQL runs, one on a database. */
async function createBoth(t: Test): Promise<FastifyInstance[]> {
  const postgres = await usePostgres(t)
  const apps = [await createApp(t)]
  if (postgres !== null) apps.push(await createApp(t, { sql: createSqlClient(postgres.pool) }))
  return apps
}

/** 25 records: `user.create` for even resource ids, `order.create` for odd ones. */
async function recordUsersAndOrders(app: FastifyInstance): Promise<void> {
  for (let i = 0; i < 25; i++) {
    await app.audit.record(i % 2 === 0 ? 'user.create' : 'order.create', {
      principal: `p-${i % 5}`,
      resource: 'r',
      resourceId: `${i}`,
      tenant: 't',
      session: 's',
      ip: '1',
      requestId: 'q',
    })
  }
  await app.audit.flush()
}

await t.test('a query returns every matching record in pages, newest first', async (t) => {
  for (const app of await createBoth(t)) {
    await recordUsersAndOrders(app)
    const all: string[] = []
    let cursor: string | undefined
    do {
      const page = await app.audit.query({
        filters: { action: 'user.*' },
        limit: 5,
        ...(cursor === undefined ? undefined : { cursor }),
      })
      all.push(...page.entries.map(({ record }) => JSON.stringify(record.resourceId).slice(1, -1)))
      cursor = page.cursor ?? undefined
    } while (cursor !== undefined)
    t.same(all, ['24', '22', '20', '18', '16', '14', '12', '10', '8', '6', '4', '2', '0'])
  }
})

await t.test('a query applies every filter, and is recorded itself', async (t) => {
  for (const app of await createBoth(t)) {
    await recordUsersAndOrders(app)
    const filters = {
      action: 'order.create',
      principal: 'p-1',
      resource: 'r',
      resourceId: '11',
      tenant: 't',
      session: 's',
      ip: '1',
      requestId: 'q',
      result: 'success' as const,
      since: 0,
      until: Date.now() + 1000,
    }
    const one = await app.audit.query({ filters, reader: { principal: 'auditor' } })
    t.equal(one.entries.length, 1)
    t.same((await app.audit.query({ filters: { ...filters, until: 1 } })).entries, [])
    const future = { ...filters, since: Date.now() + 1000 }
    t.same((await app.audit.query({ filters: future })).entries, [])
    const reads = (await recordsOf(app)).filter(({ action }) => action === 'audit_log.log_read')
    t.match(
      reads.find(({ principal }) => principal === 'auditor'),
      { data: { filters: { action: 'order.create' }, limit: 50 } },
    )
  }
  const row = projectRecord({
    v: 1,
    id: 'i',
    time: 5,
    action: 'a.b',
    result: 'success',
    writer: 'w',
  })
  t.equal(matchesFilter(readFilter({ since: 5, until: 6, action: 'a.*' }), row), true)
  t.equal(matchesFilter({ principal: 'x' }, row), false)
})

await t.test('an invalid query is refused and reads nothing', async (t) => {
  for (const app of await createBoth(t)) {
    for (const bad of [
      { filters: { acton: 'x' } as never },
      { filters: { action: 'A B' } },
      { filters: { since: 1.5 } },
      { filters: { principal: 5 } as never },
      { limit: 0 },
      { limit: 501 },
      { cursor: '-1' },
    ]) {
      await t.rejects(app.audit.query(bad), {
        code: 'PARAPET_AUDIT_LOG_INVALID_QUERY',
        statusCode: 400,
      })
    }
    t.same(
      (await recordsOf(app)).map(({ action }) => action),
      ['audit_log.writer_started'],
      'a refused query is not recorded as a read',
    )
  }
})
