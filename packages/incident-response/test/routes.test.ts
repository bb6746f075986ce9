/** The routes and the live feed: who may, what is answered, and what others never see. */
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { incidentResponse } from '@parapet/incident-response'
import { createManualClock, createSqlClient } from '@parapet/kit'
import Fastify from 'fastify'
import { Pool } from 'pg'
import t, { type Test } from 'tap'

type Access = 'none' | 'read' | 'write'

async function open(t: Test, access: () => Access = () => 'write') {
  const clock = createManualClock()
  const app = Fastify()
  t.after(() => app.close())
  const acted: string[] = []
  await app.register(incidentResponse, {
    clock,
    builtIn: ['data_breach'],
    actions: { BLOCK_IP: async ({ with: { address } }) => void acted.push(String(address)) },
  })
  app.addHook('onRequest', async (request) => {
    if (access() !== 'none') request.principal = { id: 'alice', roles: [] }
  })
  await app.register(app.incidents.routes, {
    prefix: '/incidents',
    guard: (_request, need) => access() === 'write' || access() === need,
  })
  await app.ready()
  const ask = async (method: 'GET' | 'POST' | 'PUT', url: string, payload?: object) => {
    const at = `/incidents${url.replace(/^\/(?=\?|$)/, '')}`
    const reply = await app.inject({ method, url: at, ...(payload && { payload }) })
    const isJson = String(reply.headers['content-type']).startsWith('application/json')
    return {
      status: reply.statusCode,
      body: isJson ? reply.json<Record<string, unknown>>() : {},
      text: reply.body,
      headers: reply.headers,
    }
  }
  return { app, clock, ask, acted }
}

await t.test('a person handles an incident by the routes alone', async (t) => {
  const { ask, acted, app, clock } = await open(t)
  const opened = await ask('POST', '/', {
    type: 'data_breach',
    severity: 'critical',
    principalId: 'u-1',
    note: 'a call',
  })
  t.match(opened, {
    status: 201,
    body: { phase: 'detection', transitions: ['containment'], respondBy: Number },
  })
  t.equal(opened.headers['cache-control'], 'no-store')
  const id = String(opened.body['id'])
  t.match(await ask('GET', '/?state=open&severity=critical'), {
    status: 200,
    body: { items: [{ id }], cursor: null },
  })
  t.match(await ask('GET', '/?state=closed'), { body: { items: [] } })
  t.match(await ask('POST', `/${id}/acknowledge`), {
    status: 200,
    body: { acknowledgedBy: 'alice' },
  })
  t.match(await ask('PUT', `/${id}/assignee`, { assignee: 'bob' }), { body: { assignee: 'bob' } })
  t.match(await ask('PUT', `/${id}/severity`, { severity: 'high', note: 'less' }), {
    body: { severity: 'high' },
  })
  t.match(await ask('POST', `/${id}/comments`, { text: 'seen' }), {
    status: 201,
    body: { kind: 'commented', by: 'alice' },
  })
  t.match(await ask('POST', `/${id}/links`, { kind: 'anomaly', id: 'a-1' }), {
    body: { links: [{ id: 'a-1' }] },
  })
  const act = await ask('POST', `/${id}/actions`, {
    action: 'BLOCK_IP',
    with: { address: '192.0.2.7' },
  })
  t.match(act, { status: 201, body: { kind: 'manual', steps: [{ action: 'BLOCK_IP' }] } })
  clock.advance(1000)
  await app.incidents.settle()
  t.same(acted, ['192.0.2.7'])
  const runs = (await ask('GET', `/${id}/runs`)).body['items'] as {
    id: string
    playbook: string
    steps: { id: string; state: string }[]
  }[]
  const run = runs.find(({ playbook }) => playbook === 'data_breach')!
  const waiting = run.steps.find(({ state }) => state === 'waiting')!
  t.match(
    await ask('POST', `/${id}/runs/${run.id}/steps/${waiting.id}`, { result: 'done', note: 'ok' }),
    { status: 200 },
  )
  t.match(await ask('POST', `/${id}/runs/${run.id}/cancel`), {
    status: 200,
    body: { state: 'cancelled' },
  })
  t.match(await ask('POST', `/${id}/runs/${run.id}/undo`), { status: 200 })
  const other = await ask('POST', '/', { type: 'other' })
  t.equal(
    (await ask('POST', `/${String(other.body['id'])}/runs/${run.id}/undo`)).status,
    404,
    'of another incident',
  )
  t.match(await ask('POST', `/${String(other.body['id'])}/merge`, { into: id }), {
    body: { id, findings: 2 },
  })
  for (const to of ['containment', 'eradication', 'recovery', 'lessons_learned']) {
    const { status } = await ask('POST', `/${id}/transitions`, { to })
    t.match(status, /200|409/)
  }
  t.match(await ask('POST', `/${id}/close`, { resolution: 'resolved' }), {
    body: { phase: 'closed' },
  })
  t.match(await ask('POST', `/${id}/reopen`, { note: 'again' }), { body: { phase: 'containment' } })
  t.match(await ask('GET', `/${id}/timeline?limit=3`), { body: { items: { length: 3 } } })
  t.match(await ask('GET', '/metrics'), { body: { count: 2, open: 1 } })
  t.match(await ask('GET', '/playbooks'), {
    body: { items: [{ name: 'data_breach', phases: { length: 5 } }] },
  })
  t.match((await ask('GET', '/playbooks/data_breach?format=yaml')).text, /^name: data_breach\n/)
  t.match(await ask('GET', '/playbooks/data_breach?format=cacao'), {
    body: { spec_version: 'cacao-2.0' },
  })
  t.match(await ask('POST', '/playbooks/data_breach/drill'), {
    body: { ok: false, problems: [/"block_accounts" is not registered/, String] },
  })
  t.match(
    await ask('POST', '/simulate', { type: 'brute_force', address: '192.0.2.1', attempts: 11 }),
    {
      body: { opens: true, responses: [{ action: 'BLOCK_IP' }] },
    },
  )
  t.match(await ask('GET', '/dead-letters'), { body: { items: [] } })
  t.equal((await ask('POST', '/dead-letters/notify:x/retry')).status, 404)
})

await t.test('a request without the right is refused, and nothing happens', async (t) => {
  const state: { access: Access } = { access: 'write' }
  const { ask, app } = await open(t, () => state.access)
  const { id } = await app.incidents.report({ type: 'x' })
  const before = JSON.stringify(await app.incidents.list())
  const reads = [
    '/',
    '/metrics',
    '/playbooks',
    '/dead-letters',
    '/feed',
    `/${id}`,
    `/${id}/timeline`,
    `/${id}/runs`,
    `/${id}/report`,
  ]
  const writes = [
    ['/', { type: 'y' }],
    [`/${id}/acknowledge`],
    [`/${id}/comments`, { text: 'x' }],
    [`/${id}/close`, { resolution: 'false_positive' }],
    [`/${id}/actions`, { action: 'BLOCK_IP' }],
    [`/${id}/runs`, { playbook: 'data_breach' }],
    ['/playbooks/data_breach/drill'],
  ] as const
  const refused = { status: 403, body: { code: 'PARAPET_INCIDENT_RESPONSE_FORBIDDEN' } }
  state.access = 'none'
  for (const url of reads) t.match(await ask('GET', url), refused, url)
  for (const access of ['none', 'read'] as const) {
    state.access = access
    for (const [url, body] of writes)
      t.match(await ask('POST', url, body), refused, `${access} ${url}`)
  }
  t.equal((await ask('GET', `/${id}`)).status, 200, 'who may read may read')
  t.equal(JSON.stringify(await app.incidents.list()), before)
})

await t.test('malformed requests are refused with 400', async (t) => {
  const { ask, app } = await open(t)
  const { id } = await app.incidents.report({ type: 'x' })
  const bad: ['GET' | 'POST' | 'PUT', string, object?][] = [
    ['GET', '/NO-ID'],
    ['GET', `/${id.toUpperCase()}`],
    ['GET', '/?limit=1e9'],
    ['GET', '/?state=both'],
    ['POST', '/', { type: 'X y' }],
    ['POST', '/', {}],
    ['POST', `/${id}/close`, { resolution: 'gone' }],
    ['POST', `/${id}/transitions`, { to: 'closed' }],
    ['POST', `/${id}/comments`, { text: '' }],
    ['POST', `/${id}/links`, { kind: 'url', id: 'javascript:alert(1)' }],
    ['GET', `/${id}/report?format=pdf`],
  ]
  for (const [method, url, body] of bad) t.equal((await ask(method, url, body)).status, 400, url)
  t.equal((await ask('GET', '/0190d5a0-0000-7000-8000-000000000000')).status, 404)
})

await t.test('reports show texts of attackers and never run them', async (t) => {
  const { ask, app } = await open(t)
  const evil = `<img src=x onerror=alert(1)> [x](javascript:alert(1)) | \`a\`\n# b`
  const { id } = await app.incidents.report({
    type: 'x',
    title: evil,
    principalId: '</td><script>',
  })
  await app.incidents.comment(id, evil, { by: '<i>bob</i>' })
  const html = await ask('GET', `/${id}/report?format=html`)
  t.match(html.headers['content-type'], /^text\/html/)
  t.match(html.headers['content-security-policy'], /default-src 'none'; style-src 'sha256-/)
  t.notMatch(html.text, /<img|<script|<i>bob/)
  t.match(html.text, /&lt;img src=x onerror=alert\(1\)&gt;/)
  const markdown = await ask('GET', `/${id}/report`)
  t.notMatch(markdown.text, /(?<!\\)<img|\]\(javascript/)
  const rows = markdown.text.split('\n').filter((line) => line.startsWith('|'))
  t.ok(
    rows.every((row) => row.endsWith('|')),
    'a line break makes no row',
  )
  t.match((await ask('GET', `/${id}/report?format=json`)).body, { incident: { id } })
})

await t.test('routes without a guard stop the boot', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(incidentResponse)
  void app.register(app.incidents.routes, {} as never)
  await t.rejects(async () => app.ready(), { code: 'PARAPET_INCIDENT_RESPONSE_NOT_GUARDED' })
})

/** Reads events until there are as many, then goes. */
async function follow(port: number, count: number, headers = {}, onOpen = async () => {}) {
  return new Promise<string[]>((resolve, reject) => {
    const sent = request(
      { port, host: '127.0.0.1', path: '/incidents/feed', headers },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
          const events = text.split('\n\n').filter((each) => each.startsWith('id: '))
          if (events.length < count) return
          sent.destroy()
          resolve(events)
        })
        void onOpen()
      },
    )
    sent.on('error', reject)
    sent.end()
  })
}

await t.test('the feed shows what happens, and continues where a client was', async (t) => {
  const { app, clock } = await open(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  await app.incidents.report({ type: 'before' })
  const state = { isOver: false }
  const moving = (async () => {
    while (!state.isOver) {
      clock.advance(1000)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  const events = await follow(port, 2, {}, async () => {
    const { id } = await app.incidents.report({ type: 'after' })
    await app.incidents.comment(id, 'line\nbreak', { by: 'alice' })
  })
  t.match(events[0], /^id: 2\nevent: opened\ndata: \{.*Opened: After/)
  t.match(events[1], /^id: 3\nevent: commented\ndata: \{.*"line\\nbreak".*\}$/)
  const missed = await follow(port, 3, { 'last-event-id': '0' })
  t.match(
    missed.map((each) => /^id: (\d+)/.exec(each)?.[1]),
    ['1', '2', '3'],
  )
  state.isOver = true
  await moving
})

await t.test('a database that is away is a 503, and says nothing of where it is', async (t) => {
  const pool = new Pool({ connectionString: 'postgres://nobody@127.0.0.1:1/none' })
  const app = Fastify()
  t.after(() => app.close())
  t.after(() => pool.end())
  const sql = createSqlClient(pool)
  await app.register(incidentResponse, {
    sql,
    migrate: false,
    clock: createManualClock(),
    builtIn: [],
  })
  await app.register(app.incidents.routes, { prefix: '/incidents', guard: () => true })
  const asked = [
    app.inject('/incidents'),
    app.inject('/incidents/feed'),
    app.inject({ method: 'POST', url: '/incidents', payload: { type: 'x' } }),
  ]
  for (const reply of await Promise.all(asked)) {
    t.equal(reply.statusCode, 503)
    t.match(reply.json(), { code: 'PARAPET_INCIDENT_RESPONSE_UNAVAILABLE' })
    t.notMatch(reply.body, /127\.0\.0\.1/)
  }
})

await t.test(
  'a request whose body is optional needs none, also where it announces JSON',
  async (t) => {
    const { app } = await open(t)
    const { id } = await app.incidents.report({ type: 'x' })
    for (const headers of [{}, { 'content-type': 'application/json' }]) {
      const post = (what: string) =>
        app.inject({ method: 'POST', url: `/incidents/${id}/${what}`, headers })
      t.equal((await post('acknowledge')).statusCode, 200)
      await app.incidents.close(id, 'false_positive', { by: 'alice' })
      t.equal((await post('reopen')).statusCode, 200)
    }
  },
)
