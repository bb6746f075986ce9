/** What an attacker, a greedy client or a hurried person tries, and what must not come of it. */
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  allowPrivateTarget,
  createWebhookNotifier,
  incidentResponse,
  type Message,
} from '@parapet/incident-response'
import { createManualClock, useSecurityEvents } from '@parapet/kit'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import {
  createPgliteFleets,
  openMemoryFleet,
  openPostgresFleet,
  type OpenFleet,
} from './support/fleet.ts'

const alice = { by: 'alice' }
const pglite = await createPgliteFleets(t)
const fleets: [string, OpenFleet][] = [
  ['memory', openMemoryFleet],
  ['PGlite', pglite],
  ['PostgreSQL', openPostgresFleet],
]

for (const [name, open] of fleets) {
  await t.test(`${name}: odd bytes are refused, and never end in a 500`, async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    const app = await fleet.open({ builtIn: [], actions: { BLOCK_IP: async () => {} } })
    const { id } = await app.incidents.report({ type: 'x' })
    const ask = (method: 'GET' | 'POST', url: string, payload?: object) =>
      app.inject({
        method,
        url: `/incidents${url.replace(/^\/(?=\?|$)/, '')}`,
        ...(payload && { payload }),
      })
    const reads = [
      '/?assignee=%00',
      '/?assignee=%ED%A0%80',
      '/?limit=-0',
      '/metrics?since=1e300',
      '/metrics?since=1e309',
      '/metrics?until=1e300',
      `/${id}/timeline?after=1e300`,
      `/${id}/timeline?after=9007199254740993`,
    ]
    for (const url of reads) {
      const { statusCode } = await ask('GET', url)
      t.ok(statusCode < 500, `GET ${url}: ${statusCode}`)
    }
    t.equal((await ask('POST', '/dead-letters/notify:%00/retry')).statusCode, 404)
    const deep = JSON.parse(`${'['.repeat(30_000)}${']'.repeat(30_000)}`) as unknown
    const odd: unknown[] = ['a\0b', '\ud800', { 'k\0': 1 }, ['\udfff'], deep, 'x'.repeat(60_000)]
    for (const address of odd) {
      const { statusCode, body } = await app.inject({
        method: 'POST',
        url: `/incidents/${id}/actions`,
        headers: { 'content-type': 'application/json' },
        payload:
          address === deep
            ? `{"action":"BLOCK_IP","with":{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}}`
            : JSON.stringify({ action: 'BLOCK_IP', with: { address } }),
      })
      t.match({ statusCode, body }, { statusCode: 400, body: /INVALID_ARGUMENT/ })
    }
    const long = { action: 'BLOCK_IP', with: { address: 'x'.repeat(65_536) } }
    t.equal((await ask('POST', `/${id}/actions`, long)).statusCode, 413)
    t.same(await app.incidents.runs(id), [], 'no run was begun')
    const step = await ask('POST', `/${id}/runs/${id}/steps/%00`, { result: 'done' })
    t.equal(step.statusCode, 404)
  })

  await t.test(`${name}: what an action returns is stored, whatever its bytes`, async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    let calls = 0
    const run = async () => {
      calls++
      return { summary: 'a\0b\ud800', undoWith: { kept: 'a\0b\udfff' } }
    }
    const app = await fleet.open({ builtIn: [], actions: { odd: { run, retries: 0 } } })
    const { id } = await app.incidents.report({ type: 'x' })
    await app.incidents.act(id, 'odd', {}, alice)
    await fleet.until(async () => (await app.incidents.runs(id))[0]?.state === 'done')
    t.equal(calls, 1)
    t.equal((await app.incidents.runs(id))[0]?.steps[0]?.state, 'done')
  })

  await t.test(`${name}: an event about a name with odd bytes is a finding, too`, async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    const app = await fleet.open({ builtIn: [] })
    useSecurityEvents(app, { 'mfa.locked': { severity: 'medium', outcome: 'failure' } } as never)
    for (const principalId of ['mallory\0', 'mallory\ud800', '\0']) {
      app.securityEvents.emit('mfa.locked' as never, { principalId, details: {} } as never)
    }
    await app.incidents.settle()
    const found = await app.incidents.list()
    t.equal(
      found.reduce((sum, { findings }) => sum + findings, 0),
      3,
    )
    t.ok(found.every(({ type }) => type === 'account_takeover'))
  })

  await t.test(`${name}: two clicks start one run`, async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    let calls = 0
    // The action lasts until all clicks are answered: after its end, a click starts another one.
    let finish: (() => void) | undefined
    let finished: Promise<void>
    const hold = () => (finished = new Promise<void>((resolve) => (finish = resolve)))
    const app = await fleet.open({
      builtIn: [],
      playbooks: [
        { file: 'p.yml', yaml: 'name: p\nseverity: low\nphases: {detection: {actions: [count]}}' },
      ],
      actions: {
        count: async () => {
          calls++
          await finished
        },
      },
    })
    const { id } = await app.incidents.report({ type: 'x' })
    const conflict = { code: 'PARAPET_INCIDENT_RESPONSE_CONFLICT', statusCode: 409 }
    const ends = (all: PromiseSettledResult<unknown>[]) => {
      t.equal(all.filter(({ status }) => status === 'fulfilled').length, 1)
      for (const each of all) if (each.status === 'rejected') t.match(each.reason, conflict)
    }
    const { incidents } = app
    void hold()
    ends(await Promise.allSettled([1, 2, 3].map(() => incidents.run(id, 'p', alice))))
    ends(await Promise.allSettled([1, 2].map(() => incidents.act(id, 'count', { a: 1 }, alice))))
    finish?.()
    await incidents.act(id, 'count', { a: 2 }, alice)
    await fleet.until(async () => (await incidents.runs(id)).every(({ state }) => state === 'done'))
    t.equal(calls, 3)
    await incidents.run(id, 'p', alice)
    await fleet.until(() => calls === 4)
  })
}

await t.test('a crowd of loud addresses does not hide a new one', async (t) => {
  const fleet = (await openMemoryFleet(t))!
  const blocked = new Set<unknown>()
  const { incidents } = await fleet.open({
    builtIn: [],
    actions: { BLOCK_IP: async ({ with: given }) => void blocked.add(given['address']) },
  })
  for (let host = 1; host <= 150; host++) {
    await incidents.report({ type: 'brute_force', address: `198.51.100.${host}`, attempts: 1000 })
  }
  const quiet = '192.0.2.1'
  await incidents.report({ type: 'brute_force', address: quiet, attempts: 12 })
  const counted = '192.0.2.2'
  for (let count = 0; count < 12; count++)
    await incidents.report({ type: 'brute_force', address: counted })
  await fleet.until(() => blocked.has(quiet) && blocked.has(counted))
  t.equal((await incidents.list())[0]!.addresses.length, 100)
})

await t.test('a person cannot lead an http step to a host that is not allowed', async (t) => {
  const fleet = (await openMemoryFleet(t))!
  const { incidents } = await fleet.open({ builtIn: [], httpHosts: ['api.example.com'] })
  const { id } = await incidents.report({ type: 'x' })
  const url = 'https://api.example.com/'
  for (const header of ['Host', 'transfer-encoding', 'X-Forwarded-Host']) {
    const headers = { [header]: 'inside.example.com' }
    const run = await incidents.act(id, 'http', { method: 'POST', url, headers }, alice)
    await fleet.until(async () => (await incidents.runs(id)).every(({ state }) => state === 'done'))
    const ended = (await incidents.runs(id)).find((each) => each.id === run.id)!
    t.match(ended.steps, [{ state: 'failed', error: `the header "${header}" must not be set` }])
  }
})

const openWith = (yaml: string) =>
  Fastify().register(incidentResponse, { playbooks: [{ file: 'p.yml', yaml }] })

await t.test('a playbook of many names is read at once, and no name twice', async (t) => {
  const names = Array.from({ length: 20_000 }, (_, n) => `k${n}: 1`).join('\n')
  const code = 'PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK'
  // With a comparison of each name with each other one the test would time out.
  await t.rejects(async () => openWith(names), { code })
  const twice = `${names}\n"k7": 2`
  await t.rejects(async () => openWith(twice), { code, message: /p\.yml:20001:1.*unique/s })
})

await t.test('a receiver that never ends its reply gets one message', async (t) => {
  let calls = 0
  const server = createServer((_request, response) => {
    calls++
    response.writeHead(200)
    response.write('ok')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const notifier = createWebhookNotifier({
    url: `http://127.0.0.1:${port}/`,
    secrets: ['a secret of twenty-four characters'],
    [allowPrivateTarget]: true,
  })
  const message = { key: 'k', sentAt: 0, reason: 'opened', title: '', text: '' } as Message
  await notifier.send(message, AbortSignal.timeout(10_000))
  t.equal(calls, 1)
})

async function openFeeds(t: Test, maxFeeds: number) {
  const clock = createManualClock()
  const app = Fastify()
  t.after(() => app.close())
  await app.register(incidentResponse, { clock, builtIn: [], maxFeeds })
  await app.register(app.incidents.routes, { prefix: '/incidents', guard: () => true })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const connect = (method = 'GET', headers = {}) =>
    new Promise<{ status: number; text: () => string; end: () => void }>((resolve, reject) => {
      const path = '/incidents/feed'
      const sent = request({ port, host: '127.0.0.1', path, method, headers }, (response) => {
        let text = ''
        response.on('data', (chunk) => (text += String(chunk)))
        response.on('error', () => {})
        resolve({ status: response.statusCode!, text: () => text, end: () => sent.destroy() })
      })
      sent.on('error', reject)
      sent.end()
    })
  return { app, clock, connect }
}

await t.test('feeds that are opened at once are counted at once', async (t) => {
  const { connect } = await openFeeds(t, 3)
  const all = await Promise.all(Array.from({ length: 12 }, () => connect()))
  t.equal(all.filter(({ status }) => status === 200).length, 3)
  t.equal(all.filter(({ status }) => status === 503).length, 9)
  for (const { end } of all) end()
})

await t.test('a feed is no answer to HEAD', async (t) => {
  const { connect } = await openFeeds(t, 1)
  // It is read as the id of an incident.
  t.equal((await connect('HEAD')).status, 400)
  const { status, end } = await connect()
  t.equal(status, 200)
  end()
})

await t.test('a client that names a future entry gets the present ones', async (t) => {
  const { app, clock, connect } = await openFeeds(t, 2)
  const { id } = await app.incidents.report({ type: 'x' })
  const feed = await connect('GET', { 'last-event-id': '9007199254740991' })
  await app.incidents.comment(id, 'after the restore', alice)
  for (let turns = 0; turns < 500 && !feed.text().includes('after the restore'); turns++) {
    clock.advance(1000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.match(feed.text(), /after the restore/)
  feed.end()
})
