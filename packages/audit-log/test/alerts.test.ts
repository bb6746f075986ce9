import { builtInRules, securityLogger } from '@parapet/audit-log'
import { useSecurityEvents } from '@parapet/kit'
import t from 'tap'
import { checkRules } from '../src/alerts/check-rules.ts'
import { AlertEngine, type AlertRule } from '../src/alerts/rules.ts'
import { createApp, recordsOf, useFolder } from './support.ts'

await t.test('the built-in alerts are raised once, as an event and as a record', async (t) => {
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

await t.test(
  'alert rules count records, distinct values and sequences within a sliding window',
  async (t) => {
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
    t.same(see(1050, 'a.c'), [], 'the first record has left the window')
    t.same(see(1060, 'a.b', { principal: 'p', ip: '2' }), ['burst', 'spread'])
    t.same(see(1070, 'a.b', { principal: 'p', ip: '3' }), [], 'no second alert within the window')
    t.same(see(9000, 'x.login', { principal: 'q', result: 'failure' }), [])
    t.same(see(9001, 'x.login', { principal: 'r', result: 'success' }), [], 'another principal')
    t.same(see(9002, 'x.login', { principal: 'q' }), [])
    t.same(see(9003, 'x.export', { principal: 'q' }), ['takeover'])
    t.same(see(20_000, 'x.login', { principal: 'q', result: 'failure' }), [])
    t.same(see(20_001, 'x.login', { principal: 'q' }), [])
    t.same(
      see(30_000, 'x.export', { principal: 'q' }),
      [],
      'the sequence took longer than the window',
    )
  },
)

await t.test('a rule with a high bound is evaluated', async (t) => {
  const many: AlertRule = { name: 'many', match: { actions: ['a'] }, windowMs: 1e9, above: 2500 }
  const patient = new AlertEngine([many])
  const record = { v: 1, id: 'i', writer: 'w', action: 'a', result: 'success' } as const
  const raised = Array.from({ length: 2501 }, (_, time) =>
    patient.observe({ index: time, leaf: '', record: { ...record, time } }),
  )
  t.match(
    raised.flat(),
    [{ rule: 'many', count: 2501, index: 2500 }],
    'a high bound can be reached',
  )
})

await t.test('an invalid alert rule is refused', async (t) => {
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
})

await t.test('a process that takes over the alerts reads back one window', async (t) => {
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
  t.same(
    heard,
    ['failed_logins_by_principal'],
    'three failures before the restart and three after it raise one alert',
  )
})

await t.test('guessing one account from many addresses raises an alert', async (t) => {
  const app = await createApp(t)
  const alerts: string[] = []
  app.securityEvents.on('audit_log.alert_raised', ({ details }) => {
    alerts.push(`${details.rule} ${details.key}`)
  })
  // As the plugin for sessions emits it: the account is only in the details.
  const declaration = { severity: 'low', outcome: 'failure', description: '' } as const
  useSecurityEvents(app, { 'sessions.login_failed': declaration })
  const emit = app.securityEvents.emit.bind(app.securityEvents) as (
    type: string,
    fields: object,
  ) => void
  const login = (account: string | null, ip: string) =>
    emit('sessions.login_failed', { ip, details: { method: 'pwd', loginHash: account } })
  for (let i = 0; i < 6; i++) login('a-hash', `192.0.2.${i}`)
  for (let i = 0; i < 6; i++) login(null, `198.51.100.${i}`)
  await app.audit.flush()
  t.same(alerts, ['failed_logins_by_account a-hash'])
})

function each(prefix: string): string[] {
  return Array.from({ length: 6 }, (_, at) => `${prefix}${at + 1}`)
}

await t.test('the addresses of one IPv6 network count as one client', (t) => {
  const engine = new AlertEngine(builtInRules)
  let index = 0
  const observe = (ip: string) =>
    engine.observe({
      index: index++,
      record: { v: 1, id: '0', time: 0, action: 'auth.login', result: 'failure', writer: 'w', ip },
      leaf: '',
    } as never)
  const from = (...addresses: string[]) =>
    addresses.flatMap(observe).map(({ rule, key }) => `${rule} ${key}`)
  t.same(from(...each('2001:db8::')), ['failed_logins_by_ip 2001:db8:0:0::/64'])
  t.same(from(...each('2001:db8:1:').map((prefix) => `${prefix}::1`)), [])
  t.same(from(...each('192.0.2.')), [])
  t.same(from(...each('hmac:')), [], 'a hash is no address')
  const mapped = Array.from({ length: 6 }, () => '::ffff:192.0.2.77')
  t.same(from(...mapped), ['failed_logins_by_ip 192.0.2.77'])
  t.end()
})
