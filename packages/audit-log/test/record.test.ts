import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { defineActions, diff, hmac, pii, type ActionTypes } from '@parapet/audit-log'
import {
  createSqlClient,
  problemErrorHandler,
  useSecurityEvents,
  type Principal,
} from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import t from 'tap'
import { createApp, createKeys, recordsOf, verify } from './support.ts'

const admin: Principal = { id: 'admin-1', roles: ['admin'], sessionId: 's-1', tenantId: 't-1' }

await t.test(
  'a request to a route with a rule is recorded with principal, action, address and result',
  async (t) => {
    const app = await createApp(t, { principal: () => admin })
    app.post('/users/:id/role', { config: { audit: 'user.role.change' } }, async () => 'ok')
    app.delete('/users/:id', { config: { audit: 'user.delete' } }, async () => {
      throw Object.assign(new Error('conflict'), { code: 'E_NO', statusCode: 409 })
    })
    app.get('/plain', async () => 'ok')
    const agent = { 'user-agent': 'test/1' }
    t.equal(
      (await app.inject({ method: 'POST', url: '/users/7/role', headers: agent })).statusCode,
      200,
    )
    const conflict = await app.inject({ method: 'DELETE', url: '/users/8' })
    t.equal(conflict.statusCode, 409)
    t.equal(conflict.json<{ code: string }>().code, 'E_NO')
    t.equal((await app.inject('/plain')).statusCode, 200)
    const [started, changed, deleted, ...rest] = await recordsOf(app)
    t.match(started, { action: 'audit_log.writer_started', seq: 0 })
    t.match(changed, {
      action: 'user.role.change',
      result: 'success',
      principal: 'admin-1',
      session: 's-1',
      tenant: 't-1',
      ip: '127.0.0.1',
      userAgent: 'test/1',
      resourceId: '7',
      route: 'POST /users/:id/role',
      requestId: /./,
      id: /^[0-9a-f]{8}-[0-9a-f]{4}-7/,
      time: Number,
    })
    t.match(deleted, {
      action: 'user.delete',
      result: 'failure',
      errorCode: 'E_NO',
      resourceId: '8',
    })
    t.same(rest, [])
  },
)

await t.test(
  'an attempt+outcome action writes its attempt to disk before the handler runs',
  async (t) => {
    const app = await createApp(t)
    let seen = 0
    let ran = 0
    app.post(
      '/wipe',
      {
        config: {
          audit: { action: 'disk.wipe', phases: 'attempt+outcome', resourceId: () => 'disk-1' },
        },
      },
      async () => {
        seen = app.audit.parts.spool.segments.reduce((sum, { bytes }) => sum + bytes, 0)
        return 'ok'
      },
    )
    app.post(
      '/refused',
      {
        config: { audit: { action: 'disk.wipe', phases: 'attempt+outcome' } },
        preHandler: async () => {
          throw Object.assign(new Error('denied'), { code: 'E_DENIED', statusCode: 403 })
        },
      },
      async () => `${++ran}`,
    )
    const before = app.audit.parts.spool.segments.reduce((sum, { bytes }) => sum + bytes, 0)
    t.equal((await app.inject({ method: 'POST', url: '/wipe' })).statusCode, 200)
    t.ok(seen > before, 'the attempt was written when the handler ran')
    const refused = await app.inject({ method: 'POST', url: '/refused' })
    t.equal(refused.statusCode, 403)
    t.equal(refused.json<{ code: string }>().code, 'E_DENIED')
    t.equal(ran, 0, 'the handler did not run')
    const records = await recordsOf(app)
    t.match(records.slice(1), [
      { phase: 'attempt', result: 'unknown', resourceId: 'disk-1' },
      { phase: 'outcome', result: 'success', attemptId: String(records[1]?.['id']) },
      { result: 'failure', action: 'disk.wipe' },
    ])
    t.notOk('phase' in records[3]!, 'a request that a hook refused was not attempted')
  },
)

await t.test('the reply waits for records that the handler did not await', async (t) => {
  const app = await createApp(t)
  app.get('/', async (request) => {
    void request.audit('thing.seen', { data: { n: 1 } })
    return 'ok'
  })
  t.equal((await app.inject('/')).statusCode, 200)
  t.equal(app.audit.parts.spool.segments[0]!.bytes > 0, true)
  t.match((await recordsOf(app))[1], { action: 'thing.seen', route: 'GET /', data: { n: 1 } })
})

await t.test('a security event of another plugin is recorded with the same id', async (t) => {
  const app = await createApp(t)
  const bus = useSecurityEvents(app, {
    'kit.store_lost': { severity: 'high', outcome: 'failure', description: 'x' },
  })
  const ids: string[] = []
  bus.on('kit.store_lost', ({ id }) => void ids.push(id))
  app.get('/', async (request) => {
    bus.emit(
      'kit.store_lost',
      {
        details: { reason: 'gone' },
        resourceType: 'store',
        resourceId: 'x',
        action: 'save',
        principalId: 'p',
        sessionId: 's',
      },
      request,
    )
    return 'ok'
  })
  t.equal((await app.inject('/')).statusCode, 200)
  t.match((await recordsOf(app))[1], {
    id: ids[0],
    action: 'kit.store_lost',
    severity: 'high',
    result: 'failure',
    resource: 'store',
    resourceId: 'x',
    route: 'GET /',
    data: { reason: 'gone', action: 'save' },
  })
  const deaf = await createApp(t, { recordEvents: false })
  useSecurityEvents(deaf, {
    'kit.store_lost': { severity: 'high', outcome: 'failure', description: 'x' },
  }).emit('kit.store_lost', { details: { reason: 'gone' } })
  t.equal((await recordsOf(deaf)).length, 1)
})

await t.test('a record names the operator who acts as the principal', async (t) => {
  const principal: Principal = { id: 'ada', roles: [], sessionId: 's-1', actorId: 'admin-1' }
  const app = await createApp(t, {
    principal: () => principal,
    fields: { actor: 'hmac' },
    hashKey: Buffer.alloc(32, 1),
  })
  const bus = useSecurityEvents(app, {
    'kit.store_lost': { severity: 'high', outcome: 'failure', description: 'x' },
  })
  app.post('/notes', { config: { audit: 'note.add' } }, async (request) => {
    request.principal = principal
    bus.emit('kit.store_lost', { details: { reason: 'gone' } }, request)
    await request.audit('note.write', {})
    return 'ok'
  })
  t.equal((await app.inject({ method: 'POST', url: '/notes' })).statusCode, 200)
  const records = (await recordsOf(app)).slice(1)
  t.same(
    new Set(records.map(({ action }) => action)),
    new Set(['kit.store_lost', 'note.write', 'note.add']),
  )
  for (const { action, principal: id, actor, session } of records) {
    t.match({ action, id, actor, session }, { id: 'ada', actor: /^hmac:/, session: 's-1' })
  }
})

await t.test('undefined actions and undeclared data fields are refused', async (t) => {
  const actions = defineActions({
    'report.export': { resource: 'report', data: { rows: 'integer', ids: 'ids', note: 'text?' } },
    'note.add': { durability: 'deferred', data: { when: 'json', score: 'number', ok: 'boolean' } },
  })
  const typed: ActionTypes<typeof actions>['report.export'] = { rows: 1, ids: ['a'] }
  const app = await createApp(t, { actions })
  const ids = Array.from({ length: 25 }, (_, i) => i)
  await app.audit.record('report.export', { data: { ...typed, rows: 25, ids } })
  await app.audit.record('note.add', { data: { when: [1], score: 0.5, ok: true } })
  const refused: [string, object | undefined][] = [
    ['report.exprt', {}],
    ['report.export', { rows: 1.5, ids }],
    ['report.export', { ids }],
    ['report.export', { rows: 1, ids, extra: 1 }],
    ['report.export', { rows: 1, ids: 'a' }],
    ['note.add', { when: 1, score: 'x', ok: true }],
    ['note.add', { when: 1, score: 1, ok: 'yes' }],
    ['note.add', undefined],
    ['audit_log.subject_erased', {}],
  ]
  for (const [action, data] of refused) {
    await t.rejects(
      app.audit.record(action, data === undefined ? {} : { data: data as never }),
      {
        code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
        statusCode: 500,
      },
      `${action} ${JSON.stringify(data)}`,
    )
  }
  const free = await createApp(t)
  await t.rejects(free.audit.record('Not A Name', {}), {
    code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
    statusCode: 500,
  })
  const records = await recordsOf(app)
  t.match(records[1], {
    resource: 'report',
    data: { rows: 25, ids: { count: 25, first: ids.slice(0, 10).map(String) } },
  })
  t.equal(records.length, 3)
})

await t.test(
  'changes are stored as a diff with secrets redacted, and field rules are applied',
  async (t) => {
    t.same(diff({ a: 1, b: { c: [1], 'd/e': 2 } }, { a: 1, b: { c: [2] }, f: null }), [
      { path: '/b/c', from: [1], to: [2] },
      { path: '/b/d~1e', from: 2 },
      { path: '/f', to: null },
    ])
    t.same(
      diff({ x: pii('a', { subject: 's' }) }, { x: pii('a', { subject: 's' }) }),
      [],
      'marked values are compared by value',
    )
    const keys = createKeys()
    const app = await createApp(t, {
      ...keys,
      fields: {
        ip: 'hmac',
        userAgent: 'drop',
        'data.email': 'pii',
        'changes.phone': 'hmac',
        'changes.note': 'drop',
        'data.notes.inner': 'drop',
      },
    })
    const { id } = await app.audit.record('user.update', {
      principal: 'u-1',
      ip: '203.0.113.9',
      userAgent: 'x',
      changes: {
        before: { password: 'old', phone: '1', note: 'a', name: 'n' },
        after: { password: 'new', phone: '2', note: 'b', name: pii('m', { subject: 'u-1' }) },
      },
      data: {
        email: 'e@example.org',
        apiKey: 'k',
        map: new Map([['token', 'k']]),
        n: hmac(1),
        s: hmac('1'),
        notes: { inner: 'x', kept: 1 },
      },
    })
    const record = (await recordsOf(app))[1]!
    t.match(record, {
      ip: app.audit.hash('203.0.113.9'),
      data: {
        apiKey: '[redacted]',
        map: { token: '[redacted]' },
        n: app.audit.hash(1),
        s: app.audit.hash('1'),
        email: { $pii: /./ },
        notes: { inner: '[dropped]', kept: 1 },
      },
    })
    t.not(app.audit.hash(1), app.audit.hash('1'), 'the type is part of the hash')
    t.notOk('userAgent' in record)
    t.match(record['changes'], [
      { path: '/name', from: 'n', to: { $pii: /./ } },
      { path: '/note', from: '[dropped]', to: '[dropped]' },
      { path: '/password', from: '[redacted]', to: '[redacted]' },
      { path: '/phone', from: app.audit.hash('1'), to: app.audit.hash('2') },
    ])
    t.notMatch(JSON.stringify(record), /example\.org|"old"|"new"|203\.0/)
    t.match(await app.audit.reveal(id), {
      data: { email: 'e@example.org' },
      changes: [{ to: 'm' }, {}, {}],
    })
  },
)

await t.test('marks are refused without the options that they need', async (t) => {
  const without = await createApp(t)
  await t.rejects(without.audit.record('a.b', { data: { x: pii('v', { subject: 's' }) } }), {
    code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
    statusCode: 500,
  })
  await t.rejects(without.audit.record('a.b', { data: { x: hmac('v') } }), {
    code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
    statusCode: 500,
  })
  t.throws(() => without.audit.hash('v'), {
    code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
    statusCode: 500,
  })
  await t.rejects(without.audit.erase('s'), {
    code: 'PARAPET_AUDIT_LOG_NOT_FOUND',
    statusCode: 404,
  })
})

await t.test('a record in a transaction exists only if the transaction commits', async (t) => {
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const app = await createApp(t, { sql: createSqlClient(postgres.pool) })
  const client = await postgres.pool.connect()
  await client.query('BEGIN')
  const kept = await app.audit.inTransaction(client, 'order.pay', { resourceId: 'o-1' })
  await client.query('COMMIT')
  await client.query('BEGIN')
  await app.audit.inTransaction(client, 'order.pay', { resourceId: 'o-2' })
  await client.query('ROLLBACK')
  client.release()
  const records = await recordsOf(app)
  t.match(
    records.filter(({ action }) => action === 'order.pay'),
    [{ id: kept.id, writer: 'tx', resourceId: 'o-1' }],
  )
  t.equal((await verify(app.audit.parts.store, app.audit.verifierKey)).exitCode, 0)
  const plain = await createApp(t)
  await t.rejects(plain.audit.inTransaction(client, 'order.pay', {}), {
    code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
    statusCode: 500,
  })
})

await t.test(
  'when the spool is full, a closed action is refused before its handler runs and an open action continues',
  async (t) => {
    const postgres = await usePostgres(t)
    if (postgres === null) return
    const { pool } = postgres
    const sql = createSqlClient(pool)
    const down = { is: false }
    const app = await createApp(t, {
      sql: {
        query: (...args) => (down.is ? Promise.reject(new Error('down')) : sql.query(...args)),
        transaction: (work) =>
          down.is ? Promise.reject(new Error('down')) : sql.transaction(work),
      },
      spool: { maxBytes: 1024 * 1024 },
      actions: {
        'money.move': {},
        'page.view': { whenUnavailable: 'open' },
        'fill.up': { whenUnavailable: 'open' },
      },
    })
    app.setErrorHandler(problemErrorHandler)
    let ran = 0
    app.post('/move', { config: { audit: 'money.move' } }, async () => `${++ran}`)
    app.get('/view', { config: { audit: 'page.view' } }, async () => `${++ran}`)
    app.post('/late', async (request) => {
      await request.audit('money.move', {})
      return `${++ran}`
    })
    const heard: string[] = []
    app.securityEvents.on('*', ({ type }) => void heard.push(type))
    down.is = true
    let filled = 0
    while ((await app.audit.record('fill.up', { data: { text: 'x'.repeat(60_000) } })).recorded)
      filled++
    const refused = await app.inject({ method: 'POST', url: '/move' })
    t.equal(refused.statusCode, 503)
    t.equal(refused.json<{ code: string }>().code, 'PARAPET_AUDIT_LOG_UNAVAILABLE')
    t.equal(refused.headers['retry-after'], '5')
    t.equal(ran, 0, 'the handler did not run')
    const late = await app.inject({ method: 'POST', url: '/late' })
    t.equal(late.statusCode, 503)
    t.equal(late.json<{ code: string }>().code, 'PARAPET_AUDIT_LOG_UNAVAILABLE')
    t.equal(ran, 0, 'the handler did not continue')
    t.equal(late.headers['retry-after'], '5')
    t.equal((await app.inject('/view')).statusCode, 200)
    t.equal(ran, 1, 'the open action continued')
    t.match(await app.audit.status(), { droppedRecords: Number })
    t.ok(heard.includes('audit_log.record_refused') && heard.includes('audit_log.record_dropped'))
    down.is = false
    await app.audit.parts.spool.rotate()
    await app.audit.flush()
    await app.audit.flush()
    t.equal(
      (await app.inject({ method: 'POST', url: '/move' })).statusCode,
      200,
      'there is room again',
    )
    const records = await recordsOf(app)
    t.equal(records.filter(({ action }) => action === 'fill.up').length, filled)
    t.match(
      records.find(({ action }) => action === 'audit_log.gap_recorded'),
      { data: { dropped: { 'fill.up': 1 } } },
    )
    const report = await verify(app.audit.parts.store, app.audit.verifierKey)
    t.equal(report.exitCode, 0)
    t.ok(report.declaredLosses > 0)
  },
)

await t.test('a reply whose record cannot be stored is not sent', async (t) => {
  const app = await createApp(t)
  app.get('/', { config: { audit: 'thing.read' } }, async () => {
    rmSync(join(app.folder, 'spool'), { recursive: true })
    await app.audit.parts.spool.rotate()
    return 'the secret'
  })
  const reply = await app.inject('/')
  t.equal(reply.statusCode, 503)
  t.equal(reply.json<{ code: string }>().code, 'PARAPET_AUDIT_LOG_UNAVAILABLE')
  t.notMatch(reply.body, /secret/)
})

await t.test(
  'a request that finds no room is refused by the error handler of the app',
  async (t) => {
    const app = await createApp(t)
    app.setErrorHandler(problemErrorHandler)
    let ran = 0
    app.get('/', { config: { audit: 'thing.read' } }, async () => ++ran)
    rmSync(join(app.folder, 'spool'), { recursive: true })
    await app.audit.parts.spool.rotate()
    await app.inject('/')
    const refused = await app.inject('/')
    t.equal(app.audit.parts.spool.canAccept(true), false)
    t.equal(refused.statusCode, 503)
    t.match(refused.headers['content-type'], 'application/problem+json')
    t.match(refused.json(), { status: 503, code: 'PARAPET_AUDIT_LOG_UNAVAILABLE' })
    t.equal(refused.headers['retry-after'], '5')
    t.equal(ran, 1, 'the handler did not run again')
  },
)
