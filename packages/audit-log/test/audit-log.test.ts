import {
  auditLog,
  builtInRules,
  defineActions,
  diff,
  hmac,
  pii,
  securityLogger,
  type ActionTypes,
} from '@parapet/audit-log'
import {
  createSqlClient,
  problemErrorHandler,
  useSecurityEvents,
  type Principal,
} from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import Fastify from 'fastify'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkRules } from '../src/alerts/check-rules.ts'
import { AlertEngine, type AlertRule } from '../src/alerts/rules.ts'
import { verifyConsistency, verifyInclusion, leafHash } from '../src/log/merkle.ts'
import { openNote, parseCheckpoint, parseVerifierKey } from '../src/log/note.ts'
import { matchesFilter, readFilter } from '../src/read/filter.ts'
import { projectRecord } from '../src/store/projection.ts'
import {
  createApp,
  createKeys,
  named,
  openFolder,
  ORIGIN,
  recordsOf,
  useFolder,
  verify,
} from './support.ts'

const admin: Principal = { id: 'admin-1', roles: ['admin'], sessionId: 's-1', tenantId: 't-1' }

await t.test(
  'a route with a rule is recorded, with who, what, from where and how it ended',
  async (t) => {
    const app = await createApp(t, { principal: () => admin })
    app.post('/users/:id/role', { config: { audit: 'user.role.change' } }, async () => 'ok')
    app.delete('/users/:id', { config: { audit: 'user.delete' } }, async () => {
      throw Object.assign(new Error('no'), { code: 'E_NO', statusCode: 409 })
    })
    app.get('/plain', async () => 'ok')
    const agent = { 'user-agent': 'test/1' }
    t.equal(
      (await app.inject({ method: 'POST', url: '/users/7/role', headers: agent })).statusCode,
      200,
    )
    t.equal((await app.inject({ method: 'DELETE', url: '/users/8' })).statusCode, 409)
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
  'an irreversible action is two records: the attempt is on disk before the handler runs',
  async (t) => {
    const app = await createApp(t)
    let seen = 0
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
          throw Object.assign(new Error('no'), { statusCode: 403 })
        },
      },
      async () => t.fail('the handler ran'),
    )
    const before = app.audit.parts.spool.segments.reduce((sum, { bytes }) => sum + bytes, 0)
    t.equal((await app.inject({ method: 'POST', url: '/wipe' })).statusCode, 200)
    t.ok(seen > before, 'the attempt was written when the handler ran')
    t.equal((await app.inject({ method: 'POST', url: '/refused' })).statusCode, 403)
    const records = await recordsOf(app)
    t.match(records.slice(1), [
      { phase: 'attempt', result: 'unknown', resourceId: 'disk-1' },
      { phase: 'outcome', result: 'success', attemptId: String(records[1]?.['id']) },
      { result: 'failure', action: 'disk.wipe' },
    ])
    t.notOk('phase' in records[3]!, 'what was refused before was not attempted')
  },
)

await t.test('the reply waits for what the handler did not wait for', async (t) => {
  const app = await createApp(t)
  app.get('/', async (request) => {
    void request.audit('thing.seen', { data: { n: 1 } })
    return 'ok'
  })
  t.equal((await app.inject('/')).statusCode, 200)
  t.equal(app.audit.parts.spool.segments[0]!.bytes > 0, true)
  t.match((await recordsOf(app))[1], { action: 'thing.seen', route: 'GET /', data: { n: 1 } })
})

await t.test(
  'every security event of another plugin becomes a record of the same id',
  async (t) => {
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
  },
)

await t.test('a registry of actions refuses what it does not define', async (t) => {
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
  await t.rejects(free.audit.record('Not A Name', {}), { code: 'PARAPET_AUDIT_LOG_INVALID_RECORD' })
  const records = await recordsOf(app)
  t.match(records[1], {
    resource: 'report',
    data: { rows: 25, ids: { count: 25, first: ids.slice(0, 10).map(String) } },
  })
  t.equal(records.length, 3)
})

await t.test('changes are a diff without secrets, and rules protect fields', async (t) => {
  t.same(diff({ a: 1, b: { c: [1], 'd/e': 2 } }, { a: 1, b: { c: [2] }, f: null }), [
    { path: '/b/c', from: [1], to: [2] },
    { path: '/b/d~1e', from: 2 },
    { path: '/f', to: null },
  ])
  t.same(
    diff({ x: pii('a', { subject: 's' }) }, { x: pii('a', { subject: 's' }) }),
    [],
    'marks are compared by value',
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
  t.not(app.audit.hash(1), app.audit.hash('1'), 'hashes know types')
  t.notOk('userAgent' in record)
  t.match(record['changes'], [
    { path: '/name', from: 'n', to: { $pii: /./ } },
    { path: '/password', from: '[redacted]', to: '[redacted]' },
    { path: '/phone', from: app.audit.hash('1'), to: app.audit.hash('2') },
  ])
  t.notMatch(JSON.stringify(record), /example\.org|"old"|"new"|203\.0/)
  t.match(await app.audit.reveal(id), {
    data: { email: 'e@example.org' },
    changes: [{ to: 'm' }, {}, {}],
  })
  const without = await createApp(t)
  await t.rejects(without.audit.record('a.b', { data: { x: pii('v', { subject: 's' }) } }), {
    code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
  })
  await t.rejects(without.audit.record('a.b', { data: { x: hmac('v') } }), {
    code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
  })
  t.throws(() => without.audit.hash('v'), { code: 'PARAPET_AUDIT_LOG_INVALID_RECORD' })
  await t.rejects(without.audit.erase('s'), { code: 'PARAPET_AUDIT_LOG_NOT_FOUND' })
})

await t.test(
  'a record in a transaction is there if, and only if, the transaction is',
  async (t) => {
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
    })
  },
)

await t.test(
  'when the spool is full a closed action is refused before its handler, an open one goes on and is told of later',
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
      return 'never'
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
    t.equal(late.headers['retry-after'], '5')
    t.equal((await app.inject('/view')).statusCode, 200)
    t.equal(ran, 1, 'the open action went on')
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

await t.test('a reply that cannot be recorded does not leave', async (t) => {
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

await t.test('the built-in alerts are raised, once, as an event and as a record', async (t) => {
  const app = await createApp(t)
  const alerts: { rule: string; key: string }[] = []
  app.securityEvents.on(
    'audit_log.alert_raised',
    ({ details }) => void alerts.push({ rule: details.rule, key: details.key }),
  )
  const log = securityLogger(app)
  for (let i = 0; i < 9; i++)
    await log.logAuthAttempt({
      principal: 'u-1',
      ip: '192.0.2.1',
      success: false,
      method: 'password',
    })
  for (let i = 0; i < 5; i++)
    await log.logAuthAttempt({ principal: 'u-2', ip: '192.0.2.2', success: false })
  await log.logDataAccess({ principal: 'u-3', resource: 'order', operation: 'read', ids: [1] })
  for (let i = 0; i < 11; i++)
    await log.logDataAccess({
      principal: 'u-3',
      resource: 'order',
      operation: 'export',
      ids: Array.from({ length: 12 }, (_, n) => n),
    })
  await log.logAccessViolation({
    principal: 'u-4',
    resource: 'order',
    resourceId: '5',
    permission: 'order:read',
  })
  await log.logGdpr({ request: 'erasure', subject: 'u-5', principal: 'u-5', result: 'success' })
  await app.audit.record('user.role.change', { principal: 'u-6', result: 'failure' })
  await app.audit.flush()
  t.same(alerts, [
    { rule: 'failed_logins_by_principal', key: 'u-1' },
    { rule: 'failed_logins_by_ip', key: '192.0.2.1' },
    { rule: 'many_exports', key: 'u-3' },
    { rule: 'failed_role_change', key: '' },
  ])
  const records = await recordsOf(app)
  t.equal(records.filter(({ action }) => action === 'audit_log.alert_raised').length, 4)
  t.match(
    records.find(({ action }) => action === 'data.export'),
    { data: { ids: { count: 12, first: Array.from({ length: 10 }, (_, n) => `${n}`) } } },
  )
})

await t.test(
  'rules count, count what differs, and follow sequences within a sliding window',
  async (t) => {
    const rules: AlertRule[] = [
      { name: 'burst', match: { actions: ['a.*'] }, windowMs: 1000, above: 2 },
      {
        name: 'spread',
        match: { actions: ['a.b'] },
        by: 'principal',
        windowMs: 1000,
        distinct: { of: 'ip', above: 1 },
      },
      {
        name: 'takeover',
        match: { actions: ['*.login'], result: 'failure' },
        sequence: [{ actions: ['x.login'], result: 'success' }, { actions: ['x.export'] }],
        by: 'principal',
        windowMs: 1000,
        severity: 'critical',
      },
    ]
    t.equal(checkRules(rules), undefined)
    t.equal(checkRules(builtInRules), undefined)
    const engine = new AlertEngine(rules)
    let index = 0
    const see = (time: number, action: string, more: object = {}) =>
      engine
        .observe({
          index: index++,
          leaf: '',
          record: { v: 1, id: 'i', writer: 'w', time, action, result: 'success', ...more },
        })
        .map(({ rule }) => rule)
    t.same(see(0, 'a.b', { principal: 'p', ip: '1' }), [])
    t.same(see(100, 'a.b', { principal: 'p', ip: '1' }), [])
    t.same(see(1050, 'a.c'), [], 'the first has left the window')
    t.same(see(1060, 'a.b', { principal: 'p', ip: '2' }), ['burst', 'spread'])
    t.same(see(1070, 'a.b', { principal: 'p', ip: '3' }), [], 'quiet for a window')
    t.same(see(9000, 'x.login', { principal: 'q', result: 'failure' }), [])
    t.same(see(9001, 'x.login', { principal: 'r', result: 'success' }), [], 'another key')
    t.same(see(9002, 'x.login', { principal: 'q' }), [])
    t.same(see(9003, 'x.export', { principal: 'q' }), ['takeover'])
    const many: AlertRule = { name: 'many', match: { actions: ['a'] }, windowMs: 1e9, above: 2500 }
    const patient = new AlertEngine([many])
    const record = { v: 1, id: 'i', writer: 'w', action: 'a', result: 'success' } as const
    const raised = Array.from({ length: 2501 }, (_, time) =>
      patient.observe({ index: time, leaf: '', record: { ...record, time } }),
    )
    t.match(raised.flat(), [{ rule: 'many', count: 2501, index: 2500 }], 'a high bound is reached')
    t.same(see(20_000, 'x.login', { principal: 'q', result: 'failure' }), [])
    t.same(see(20_001, 'x.login', { principal: 'q' }), [])
    t.same(see(30_000, 'x.export', { principal: 'q' }), [], 'too late')
    for (const bad of [
      {},
      [null],
      [{ name: 'X' }],
      [{ name: 'a' }],
      [{ name: 'a', windowMs: 1 }],
      [{ name: 'a', windowMs: 1, match: { actions: [] } }],
      ...[
        { above: '5' },
        { above: 10_001 },
        { above: 1, by: 'user' },
        { above: 1, severity: 'info' },
        { above: 1, match: { actions: ['a*b'] } },
        { above: 1, match: { actions: ['a'], result: 'ok' } },
        { above: 1, windowms: 5 },
        { distinct: { of: 'x', above: 1 } },
        { distinct: { of: 'ip' } },
        { sequence: [] },
        { sequence: [{}] },
        { above: 1, sequence: [{ actions: ['a'] }] },
      ].map((more) => [{ name: 'a', windowMs: 1, match: { actions: ['a'] }, ...more }]),
      [...rules, ...rules],
    ]) {
      t.type(checkRules(bad), 'string')
    }
  },
)

await t.test('whoever takes over the alerts looks back one window', async (t) => {
  const folder = useFolder(t)
  const heard: string[] = []
  for (let start = 0; start < 2; start++) {
    const app = await createApp(t, { directory: folder })
    app.securityEvents.on('audit_log.alert_raised', ({ details }) => void heard.push(details.rule))
    for (let i = 0; i < 3; i++)
      await app.audit.record('auth.login', { principal: 'u', result: 'failure' })
    await app.audit.flush()
    await app.close()
  }
  t.same(heard, ['failed_logins_by_principal'], 'three before the restart, three after it')
})

await t.test(
  'the log is read in pages, by filters, and reading it is itself recorded',
  async (t) => {
    const postgres = await usePostgres(t)
    for (const sql of [undefined, postgres === null ? undefined : createSqlClient(postgres.pool)]) {
      const app = await createApp(t, sql === undefined ? {} : { sql })
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
      const all: string[] = []
      let cursor: string | undefined
      do {
        const page = await app.audit.query({
          filters: { action: 'user.*' },
          limit: 5,
          ...(cursor === undefined ? undefined : { cursor }),
        })
        all.push(
          ...page.entries.map(({ record }) => JSON.stringify(record.resourceId).slice(1, -1)),
        )
        cursor = page.cursor ?? undefined
      } while (cursor !== undefined)
      t.same(all, ['24', '22', '20', '18', '16', '14', '12', '10', '8', '6', '4', '2', '0'])
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
      t.same(
        (await app.audit.query({ filters: { ...filters, since: Date.now() + 1000 } })).entries,
        [],
      )
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
  },
)

await t.test('the routes need a guard, and serve what a stranger can verify', async (t) => {
  const app = await createApp(t)
  await t.rejects(
    async () => {
      await app.register(app.audit.routes, { prefix: '/open' } as never)
    },
    { code: 'PARAPET_AUDIT_LOG_NOT_GUARDED' },
  )
  const served = await createApp(t)
  served.setErrorHandler(problemErrorHandler)
  await served.register(served.audit.routes, {
    prefix: '/audit',
    guard: (request) => request.headers['x-test'] === 'auditor',
  })
  const headers = { 'x-test': 'auditor' }
  const get = (url: string) => served.inject({ url, headers })
  t.equal((await get('/audit/checkpoint')).statusCode, 404, 'the log is empty')
  for (let i = 0; i < 300; i++) void served.audit.record('user.create', { resourceId: `=cmd|${i}` })
  await served.audit.flush()
  for (const path of [
    'events',
    'export',
    'checkpoint',
    'tile/0/000',
    'tile/entries/000',
    'proof/01a20026-2924-7330-9e4d-e7baa57fdd59',
  ]) {
    const reply = await served.inject(`/audit/${path}`)
    t.equal(reply.statusCode, 403, path)
    t.equal(reply.json<{ code: string }>().code, 'PARAPET_AUDIT_LOG_FORBIDDEN')
  }
  const page = (await get('/audit/events?limit=2')).json<{
    entries: { index: number; record: { id: string; v: number } }[]
    cursor: string
  }>()
  t.equal(page.entries.length, 2)
  t.equal(page.entries[0]!.record.v, 1, 'records are whole')
  t.equal(
    (await get('/audit/events?limt=2')).statusCode,
    400,
    'a misspelt filter is not passed over',
  )
  t.equal((await get('/audit/events?limit=0')).statusCode, 400)
  await served.audit.flush()
  const proven = (await get(`/audit/proof/${page.entries[1]!.record.id}`)).json<{
    index: number
    leaf: string
    proof: string[]
    checkpoint: string
  }>()
  const key = parseVerifierKey(served.audit.verifierKey)!
  const opened = openNote(proven.checkpoint, [key])
  t.type(opened, 'object')
  const { size, root } = parseCheckpoint((opened as { text: string }).text)!
  const hashes = proven.proof.map((hash) => Buffer.from(hash, 'base64'))
  t.ok(verifyInclusion(leafHash(Buffer.from(proven.leaf)), proven.index, size, hashes, root))
  const old = parseCheckpoint(
    (openNote((await get('/audit/checkpoint')).body, [key]) as { text: string }).text,
  )!
  await served.audit.flush()
  const now = parseCheckpoint(
    (openNote(await served.audit.checkpoint(), [key]) as { text: string }).text,
  )!
  const consistency = (await served.audit.proveConsistency(old.size, now.size)).map((hash) =>
    Buffer.from(hash, 'base64'),
  )
  t.ok(verifyConsistency(old.size, now.size, old.root, now.root, consistency))
  await t.rejects(served.audit.proveConsistency(5, 1_000_000), {
    code: 'PARAPET_AUDIT_LOG_NOT_FOUND',
  })
  const tile = await get('/audit/tile/0/000')
  t.equal(tile.rawPayload.length, 8192)
  t.match(tile.headers['cache-control'], /immutable/)
  t.equal((await get('/audit/tile/0/000.p/7')).rawPayload.length, 7 * 32)
  t.equal((await get('/audit/tile/entries/000')).statusCode, 200)
  for (const bad of [
    'tile/0/999',
    'tile/entries/999',
    'tile/0/0',
    'tile/..%2f..%2fkey.pem',
    'proof/01a20026-2924-7330-9e4d-e7baa57fdd59',
  ]) {
    t.equal((await get(`/audit/${bad}`)).statusCode, 404, bad)
  }
  const csv = await get('/audit/export?format=csv&action=user.create')
  t.match(csv.headers['content-type'], /text\/csv/)
  t.match(csv.body, /,'=cmd\|5,|,"'=cmd\|5",/, 'no cell is a formula')
  t.equal(csv.body.split('\r\n').length, 302)
  const lines = (await get('/audit/export?proofs=true&action=user.create')).body.trim().split('\n')
  t.equal(lines.length, 300)
  t.match(JSON.parse(lines[0]!), {
    index: Number,
    leaf: /user.create/,
    proof: Array,
    checkpoint: /example/,
  })
  const reads = (await recordsOf(served)).filter(({ action }) =>
    String(action).startsWith('audit_log.log_'),
  )
  t.same(
    reads.map(({ route }) => String(route).replace('GET /audit/', '')),
    ['events', 'proof/:id', 'tile/*', 'tile/*', 'proof/:id', 'export', 'export'],
    'every reading that was let through is a record',
  )
})

await t.test(
  'a restart goes on with the same log, and names what the last writer left',
  async (t) => {
    const folder = useFolder(t)
    const writers: string[] = []
    for (let start = 0; start < 3; start++) {
      const app = await createApp(t, { directory: folder })
      writers.push(app.audit.parts.spool.writer)
      await app.audit.record('thing.act', {})
      await app.close()
    }
    const app = await createApp(t, { directory: folder })
    await app.audit.flush()
    const report = await verify(openFolder(folder), app.audit.verifierKey)
    t.same(named(report), [])
    t.equal(report.size, 10, 'started, acted, stopped; thrice, and started')
    t.equal(new Set(writers).size, 3)
  },
)

await t.test('the doctor looks at everything a boot depends on', async (t) => {
  const app = await createApp(t)
  t.match(
    (await app.audit.doctor()).map(({ check, ok }) => `${check} ${ok}`),
    ['key true', 'store true', 'log true', 'checkpoint true', 'clock true', /disk/],
  )
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const down = { is: false }
  const sql = createSqlClient(postgres.pool)
  const ill = await createApp(t, {
    sql: {
      ...sql,
      query: (...args) => (down.is ? Promise.reject(new Error('down')) : sql.query(...args)),
    },
  })
  down.is = true
  t.match(
    (await ill.audit.doctor()).find(({ check }) => check === 'store'),
    { ok: false },
  )
  t.match(await ill.audit.status(), { size: 0 })
  down.is = false
})

await t.test('an option that is unknown, mistyped or contradictory stops the boot', async (t) => {
  const sink = { name: 'x', deliver: async () => {} }
  const refused: readonly [object, RegExp][] = [
    [{ origin: undefined }, /origin/],
    [{ origin: 'https://example.org' }, /no scheme/],
    [{ origin: 'a b' }, /no blanks/],
    [{ orgin: 'x' }, /did you mean "origin"/],
    [{ hashKey: Buffer.alloc(16) }, /at least 32 bytes/],
    [{ cipher: createKeys().cipher }, /hashKey: must be given/],
    [{ fields: { ip: 'pii' } }, /cipher: must be given/],
    [{ fields: { ip: 'hmac' } }, /hashKey: must be given/],
    [{ fields: { ip: 'hide' } }, /fields.ip/],
    [{ sinks: [sink, sink] }, /different names/],
    [{ sinks: [{ name: '../x', deliver: async () => {} }] }, /must be a sink/],
    [{ actions: { Bad: {} } }, /an action is named like/],
    [{ actions: { 'audit_log.x': {} } }, /an action is named like/],
    [{ actions: { 'a.b': { durable: true } } }, /"durable" in "a.b", which is unknown/],
    [{ actions: { 'a.b': { durability: 'yes' } } }, /needs one of durable, deferred/],
    [{ actions: { 'a.b': { data: { x: 'date' } } } }, /unknown field type/],
    [{ actions: 5 }, /table of actions/],
    [{ alerts: [{ name: 'a' }] }, /windowMs/],
    [{ key: 'pem' }, /key: must be/],
    [{ spool: { maxBytes: 5 } }, /spool.maxBytes/],
    [{ retention: { days: -1 } }, /retention.days/],
  ]
  for (const [options, message] of refused) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(auditLog, { origin: ORIGIN, directory: useFolder(t), ...options })
      },
      { code: 'PARAPET_AUDIT_LOG_INVALID_OPTION', statusCode: 500, message },
    )
  }
})
