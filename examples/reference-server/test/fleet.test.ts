/** Three instances behind nginx: one state, one audit log, and a kill that loses only what was in flight. */
import { startRedis, usePostgres } from '@parapet/testing'
import t, { type Test } from 'tap'
import { ask, createInstances, createKeys, startProxy } from './support/fleet.ts'
import { password } from './support/test-app.ts'

const chief = { ADMIN_EMAIL: 'chief@example.com', ADMIN_PASSWORD: password }
const venue = { name: 'V', city: 'C', country: 'DE', capacity: 1 }

async function startFleet(t: Test) {
  const postgres = await usePostgres(t)
  const redis = await startRedis(t)
  if (postgres === null || redis === null) return null
  const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url, ...chief, ...createKeys() }
  const start = createInstances(t, env)
  // All at once, on a database without tables: they wait for one another.
  const instances = await Promise.all([0, 1, 2].map(start))
  const proxy = await startProxy(t, instances)
  if (proxy === null) {
    t.comment('nginx is not installed: the test is skipped')
    return null
  }
  return { instances, start, proxy, pool: postgres.pool }
}

/** Asks until the answer has the status: other instances learn of a change within moments. */
async function until(status: number, request: () => ReturnType<typeof ask>): Promise<void> {
  while ((await request()).status !== status) await new Promise((go) => setTimeout(go, 20))
}

interface Entry {
  readonly record: { readonly resourceId?: unknown }
}

/** Reads all records of created venues, page by page. */
async function* recordsOf(port: number, token: string): AsyncGenerator<Entry> {
  const path = '/api/v1/audit/events?action=venue.create&limit=500'
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: string = cursor === '' ? path : `${path}&cursor=${cursor}`
    const { body } = await ask(port, 'GET', page, { token })
    yield* body['entries'] as readonly Entry[]
    cursor = body['cursor'] as string | null
  }
}

// In one test: the processes end with it, and would keep the file running otherwise.
await t.test('three instances behind nginx', async (t) => {
  const fleet = await startFleet(t)
  if (fleet === null) return

  await t.test('one session, one block list and one audit log on three instances', async (t) => {
    const [one, two, three] = fleet.instances.map(({ port }) => port) as [number, number, number]
    const login = { login: chief.ADMIN_EMAIL, password }
    const logIn = (port: number) => ask(port, 'POST', '/api/v1/auth/login', { body: login })

    const first = await logIn(one)
    t.equal(first.status, 200)
    const refreshed = await ask(two, 'POST', '/api/v1/auth/refresh', {
      body: { refresh_token: first.body['refresh_token'] },
    })
    t.equal(refreshed.status, 200, 'the second instance refreshes a session of the first one')
    const token = String(refreshed.body['access_token'])
    t.equal((await ask(three, 'GET', '/api/v1/users/me', { token })).status, 200)
    t.equal((await ask(one, 'POST', '/api/v1/auth/logout', { token })).status, 204)
    await until(401, () => ask(three, 'GET', '/api/v1/users/me', { token }))

    const admin = String((await logIn(two)).body['access_token'])
    const address = '127.0.0.77'
    const open = await ask(fleet.proxy, 'GET', '/api/v1/artists', { from: address })
    t.equal(open.status, 200)
    const block = { address, reason: 'a test', ttlSeconds: 600 }
    const blocked = await ask(one, 'POST', '/api/v1/security/containments', {
      body: block,
      token: admin,
    })
    t.equal(blocked.status, 201)
    // Each of the next requests reaches another instance.
    let refusals = 0
    await until(403, () => ask(fleet.proxy, 'GET', '/api/v1/artists', { from: address }))
    while (refusals < 3) {
      const answer = await ask(fleet.proxy, 'GET', '/api/v1/artists', { from: address })
      refusals = answer.status === 403 ? refusals + 1 : 0
    }
    t.equal((await ask(fleet.proxy, 'GET', '/api/v1/artists')).status, 200, 'others are served')

    for (const port of [one, two, three]) {
      const made = await ask(port, 'POST', '/api/v1/venues', { body: venue, token: admin })
      t.equal(made.status, 201)
    }
    const count = async () => {
      const { body } = await ask(three, 'GET', '/api/v1/audit/events?action=venue.create', {
        token: admin,
      })
      const records = (body['entries'] as { record: { changes?: unknown } }[]).map(
        ({ record }) => record,
      )
      return records.filter(({ changes }) => changes !== undefined).length
    }
    while ((await count()) < 3) await new Promise((go) => setTimeout(go, 50))
    t.equal(await count(), 3, 'one log has the records of all instances')
  })

  await t.test('an instance that is killed under load loses only what it was doing', async (t) => {
    const { instances, proxy, pool } = fleet
    const login = { login: chief.ADMIN_EMAIL, password }
    const { body } = await ask(instances[1]!.port, 'POST', '/api/v1/auth/login', { body: login })
    const token = String(body['access_token'])
    const acknowledged: string[] = []
    const answered = new Set<string>()
    const broken = { reads: 0, writes: [] as string[] }
    let sent = 0
    let killed = false

    async function readAndWrite(): Promise<void> {
      while (sent < 400) {
        sent++
        if (sent === 150) {
          killed = true
          instances[0]!.child.kill('SIGKILL')
        }
        const read = await ask(proxy, 'GET', '/api/v1/venues?limit=1').catch(() => null)
        if (read?.status === 200) answered.add(read.instance.split(', ').at(-1)!)
        else broken.reads++
        const name = `Venue ${sent}`
        const made = await ask(proxy, 'POST', '/api/v1/venues', {
          token,
          body: { ...venue, name },
        }).catch(() => null)
        if (made?.status === 201) acknowledged.push(String(made.body['id']))
        else
          broken.writes.push(`${made?.status} ${String(made?.body['code'])} by ${made?.instance}`)
      }
    }
    const clients = 8
    await Promise.all(Array.from({ length: clients }, readAndWrite))
    t.ok(killed)
    t.equal(broken.reads, 0, 'nginx asks another instance, because reading twice is harmless')
    t.ok(broken.writes.length <= clients, 'only writes in flight on the killed instance are lost')
    t.same(
      broken.writes.filter((each) => !each.includes(`:${instances[0]!.port}`)),
      [],
      'no other instance has refused one',
    )
    t.equal(answered.size, 3, 'all three instances took part')
    const { rows } = await pool.query<{ id: string }>('SELECT id::text AS id FROM venues')
    const stored = new Set(rows.map(({ id }) => id))
    t.same(
      acknowledged.filter((id) => !stored.has(id)),
      [],
      'no acknowledged write is lost',
    )
    const ready = await ask(proxy, 'GET', '/ready')
    t.equal(ready.status, 200)

    // Its last records are in its own spool until it runs again.
    const again = await fleet.start(0)
    const recorded = new Set<unknown>()
    const isRecorded = (id: string) => recorded.has(id)
    while (!acknowledged.every(isRecorded)) {
      for await (const { record } of recordsOf(again.port, token)) recorded.add(record.resourceId)
    }
    t.pass('the one log has a record of every acknowledged write')
  })
})
