import { createManualClock, createMemoryStore, type Store } from '@parapet/kit'
import { rules, type Anomaly } from '@parapet/anomaly-guard'
import t from 'tap'
import { parseAnomaly } from '../src/incidents/anomaly.ts'
import { correlate, patternOf } from '../src/incidents/correlate.ts'
import { createModes } from '../src/incidents/modes.ts'
import { describeBoot } from '../src/service/boot-line.ts'
import { resolveOptions } from '../src/options.ts'
import { build } from './support.ts'

const by = 'op'
let serial = 0

function anomaly(label: string, facts: Partial<Anomaly> = {}): Anomaly {
  serial++
  return {
    id: `id-${serial}`,
    time: 1000 + serial,
    rule: label.replaceAll('_', '-'),
    label,
    severity: 'medium',
    mode: 'alert',
    subject: { address: '192.0.2.7' },
    evidence: {},
    ...facts,
  }
}

await t.test('a store that hangs does not keep an app from closing', async (t) => {
  const clock = createManualClock()
  const memory = createMemoryStore({ clock })
  const hanging: unknown[] = []
  let isHung = false
  const store = new Proxy(memory, {
    get(target, name) {
      const method = Reflect.get(target, name) as unknown
      if (typeof method !== 'function') return method
      return (...given: unknown[]) => {
        if (!isHung) return Reflect.apply(method, target, given) as unknown
        hanging.push(name)
        return new Promise(() => {})
      }
    },
  })
  const built = await build(t, { store, clock })
  isHung = true
  for (let attempt = 0; attempt < 6; attempt++) await built.failLogin('192.0.2.7')
  t.equal((await built.send('/', '192.0.2.7')).statusCode, 403, 'protection does not wait')
  t.ok(hanging.length > 0)
  const ended: true[] = []
  const closed = built.app.close().then(() => void ended.push(true))
  for (let turn = 0; turn < 50 && ended.length === 0; turn++) {
    await new Promise(setImmediate)
    clock.advance(500)
  }
  t.same(ended, [true], 'within 25 s of the clock')
  isHung = false
  await closed
})

await t.test('anomalies of one subject become one incident; agreement raises confidence', (t) => {
  const [alone] = correlate([anomaly('mass_export')])
  t.match(alone, { pattern: 'data_exfiltration', label: 'mass_export', confidence: 0.85 })
  const both = correlate([
    anomaly('enumeration', { severity: 'critical' }),
    anomaly('mass_export'),
    anomaly('mass_export'),
    anomaly('brute_force'),
    anomaly('enumeration', { subject: { address: '198.51.100.1' } }),
  ])
  t.equal(both.length, 3)
  const incident = both.find(({ evidence }) => evidence.length === 3)
  t.match(incident, { pattern: 'data_exfiltration', label: 'mass_export', severity: 'critical' })
  t.equal(incident!.confidence, 0.963, 'a repetition of one rule adds nothing')
  t.equal(incident!.id, incident!.evidence[0])
  t.end()
})

await t.test('a distributed attack is one incident', (t) => {
  const floods = [1, 2, 3, 4, 5].map((n) =>
    anomaly('flood', { subject: { address: `10.0.0.${n}` } }),
  )
  const [flood, ...others] = correlate(floods)
  t.match(flood, { pattern: 'denial_of_service' })
  t.equal(flood!.subjects.length, 5)
  t.same(others, [])
  t.equal(correlate(floods.slice(1)).length, 4, 'few floods are of their clients')
  const logins = [1, 2].map((n) =>
    anomaly('distributed_brute_force', { subject: { address: `10.0.0.${n}`, account: 'a' } }),
  )
  t.equal(correlate(logins).length, 1)
  t.end()
})

await t.test(
  'what an operator called false is in no incident, and an unknown label is "other"',
  (t) => {
    t.same(correlate([anomaly('flood', { verdict: 'false-positive' })]), [])
    t.match(correlate([anomaly('coupon')]), [{ pattern: 'other', confidence: 0.4 }])
    t.equal(patternOf('constructor'), 'other')
    const subject = { principalId: 'u-1', address: 'a' }
    const principal = correlate([
      anomaly('enumeration', { subject }),
      anomaly('mass_export', { subject }),
    ])
    t.equal(principal.length, 1)
    t.end()
  },
)

await t.test('an anomaly explains itself in sentences', async (t) => {
  const { app, failLogin } = await build(t)
  for (let attempt = 0; attempt < 5; attempt++) await failLogin('192.0.2.7')
  await app.anomaly.settle()
  const [found] = await app.anomaly.timeline()
  const { sentences, containments, incident } = await app.anomaly.explain(found!.id)
  t.equal(containments.length, 1)
  t.equal(incident?.pattern, 'brute_force')
  const text = sentences.join('\n')
  t.match(
    text,
    /the rule "brute-force" counted 5 in 300 s, its limit is 5 for address 192\.0\.2\.7/,
  )
  t.match(text, /it calls this brute_force \(accounts 1, secrets 1\)/)
  t.match(text, /In force: block of address:192\.0\.2\.7 until/)
  t.match(text, /It is part of an incident of 1 anomalies: brute_force, confidence 0\.8/)
  t.notMatch(text, /alice|wrong/, 'neither the account nor the password')
  await t.rejects(app.anomaly.explain('no-such-id'), {
    code: 'PARAPET_ANOMALY_GUARD_UNKNOWN',
    statusCode: 404,
  })
})

await t.test('a false positive is lifted, spared for an hour, and reported', async (t) => {
  const { app, clock, failLogin, send, eventsOf } = await build(t)
  for (let attempt = 0; attempt < 5; attempt++) await failLogin('192.0.2.7')
  await app.anomaly.settle()
  const [found] = await app.anomaly.timeline()
  t.equal((await send('/', '192.0.2.7')).statusCode, 403)
  t.equal(await app.anomaly.feedback(found!.id, 'false-positive', { by }), 1)
  t.equal((await send('/', '192.0.2.7')).statusCode, 200)
  for (let attempt = 0; attempt < 9; attempt++) await failLogin('192.0.2.7')
  t.equal((await send('/', '192.0.2.7')).statusCode, 200, 'spared')
  t.match(eventsOf('anomaly_guard.feedback_given'), [
    { details: { lifted: 1, rule: 'brute-force' } },
  ])
  t.equal(app.anomaly.impact('brute-force').falsePositives, 1)
  t.match((await app.anomaly.explain(found!.id)).sentences.at(-1), /called it a false-positive/)
  await t.rejects(app.anomaly.feedback(found!.id, 'perhaps' as never, { by }), {
    code: 'PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT',
  })
  t.equal(await app.anomaly.feedback(found!.id, 'true-positive', { by }), 0)
  clock.advance(3_600_001)
  for (let attempt = 0; attempt < 5; attempt++) await failLogin('192.0.2.7')
  t.equal((await send('/', '192.0.2.7')).statusCode, 403, 'the grace has ended')
})

await t.test('feedback counts once, and lifts only what its rule has done', async (t) => {
  const rule = rules.bruteForce({ falsePositiveRatio: 0.00001 })
  const { app, failLogin, send } = await build(t, { rules: [rule] })
  await send('/?q=%3Cscript%3E', '192.0.2.7')
  for (let attempt = 0; attempt < 5; attempt++) await failLogin('192.0.2.7', `a${attempt}`)
  await app.anomaly.settle()
  const all = await app.anomaly.timeline()
  const payload = all.find((each) => each.rule === 'inspection')
  const guessing = all.find((each) => each.rule === 'brute-force')
  t.equal(await app.anomaly.feedback(payload!.id, 'false-positive', { by }), 0)
  t.equal((await send('/', '192.0.2.7')).statusCode, 403, 'the guessing client stays blocked')
  t.equal(await app.anomaly.feedback(guessing!.id, 'false-positive', { by }), 1)
  t.equal(await app.anomaly.feedback(guessing!.id, 'false-positive', { by }), 0)
  t.equal(app.anomaly.impact('brute-force').falsePositives, 1, 'a double click')
  t.equal(app.anomaly.rules[0]!.mode, 'enforce')
})

await t.test(
  'a rule with too many false positives is demoted, and can be promoted again',
  async (t) => {
    const flood = rules.flood({ limit: 2, withinMs: 1000, falsePositiveRatio: 0.001 })
    const { app, clock, send, eventsOf } = await build(t, { rules: [flood] })
    // The budget has raised the limit to what it saw; more than that is an anomaly.
    for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3']) {
      for (let sent = 0; sent < 30; sent++) await send('/', address)
      clock.advance(2000)
    }
    for (let each = 0; each < 3; each++) {
      for (let sent = 0; sent < 40 + each; sent++) await send('/', `10.0.1.${each}`)
      clock.advance(2000)
    }
    await app.anomaly.settle()
    const found = await app.anomaly.timeline(0)
    t.ok(found.length >= 2)
    for (const { id } of found) await app.anomaly.feedback(id, 'false-positive', { by })
    t.equal(eventsOf('anomaly_guard.budget_exceeded').length >= 1, true)
    t.match(app.anomaly.rules[0], { name: 'flood', mode: 'shadow' })
    await app.anomaly.promote('flood', { by })
    t.match(app.anomaly.rules[0], { name: 'flood', mode: 'enforce' })
  },
)

await t.test('impact says what a rule would do; promote lets it', async (t) => {
  const { app, failLogin, send, eventsOf } = await build(t, { mode: 'shadow' })
  for (let attempt = 0; attempt < 8; attempt++) await failLogin('192.0.2.7')
  await send('/', '192.0.2.9')
  await app.anomaly.settle()
  t.match(app.anomaly.impact('brute-force'), {
    mode: 'shadow',
    requests: 9,
    detections: 4,
    anomalies: 1,
    clients: 1,
    knownClients: 0,
    anomalyRatio: 1 / 9,
    responses: { 'block-address': 1 },
    routes: { 'POST /login': 4 },
  })
  t.match(eventsOf('anomaly_guard.detected'), [{ severity: 'info', details: { mode: 'shadow' } }])
  t.equal((await send('/', '192.0.2.7')).statusCode, 200)
  await app.anomaly.promote('brute-force', { by })
  await failLogin('192.0.2.7')
  t.equal((await send('/', '192.0.2.7')).statusCode, 403)
  t.match(eventsOf('anomaly_guard.mode_changed'), [{ details: { mode: 'enforce', by } }])
  const unknown = { code: 'PARAPET_ANOMALY_GUARD_UNKNOWN', statusCode: 404 }
  t.throws(() => app.anomaly.impact('no-such-rule'), unknown)
  await t.rejects(app.anomaly.promote('no-such-rule', { by }), unknown)
})

await t.test('promoting all rules leaves those with a mode of their own alone', async (t) => {
  const store = createMemoryStore()
  t.after(() => store.close())
  const own = rules.scanner({ mode: 'shadow' })
  const { app } = await build(t, { mode: 'shadow', store, rules: [own, rules.flood()] })
  await app.anomaly.promote('*', { by })
  const modes = Object.fromEntries(app.anomaly.rules.map(({ name, mode }) => [name, mode]))
  t.match(modes, { scanner: 'shadow', flood: 'enforce', inspection: 'enforce' })
  const again = await build(t, { mode: 'shadow', store, rules: [own, rules.flood()] })
  const kept = again.app.anomaly.rules.find(({ name }) => name === 'flood')
  t.equal(kept?.mode, 'enforce', 'a promotion survives a restart')
})

await t.test('a damaged list of modes changes nothing', async (t) => {
  const clock = createManualClock()
  const store = createMemoryStore({ clock })
  t.after(() => store.close())
  for (const text of ['{', 'null', '{"flood":"burn","x":5}']) {
    await store.set('anomaly-guard:modes', text, 1000)
    const modes = createModes({ store, clock, mode: 'alert', onError: () => {} })
    await modes.start()
    t.equal(modes.of('flood'), 'alert', text)
    await modes.stop()
  }
  for (const text of ['', '5', '{}', 'x'.repeat(20_000)]) t.equal(parseAnomaly(text), undefined)
})

await t.test('what operators decided survives a store that loses everything', async (t) => {
  const clock = createManualClock()
  const store = createMemoryStore({ clock })
  const start = async () => {
    const modes = createModes({ store, clock, mode: 'shadow', onError: () => {} })
    await modes.start()
    t.after(() => modes.stop())
    return modes
  }
  const first = await start()
  await first.set('flood', 'enforce')
  await store.delete('anomaly-guard:modes')
  clock.advance(60_001)
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
  t.equal((await start()).of('flood'), 'enforce')
})

await t.test('a login that succeeds in the middle of an attack is a takeover', async (t) => {
  const { app, send, failLogin, eventsOf } = await build(t, { mode: 'alert' })
  for (let attempt = 0; attempt < 8; attempt++) await failLogin(`192.0.2.${attempt}`, 'bob')
  await app.anomaly.settle()
  const login = (address: string, account: string) =>
    send('/login', address, { method: 'POST', payload: { account, password: 'right' } })
  await login('198.51.100.1', 'carol')
  // The owner, from an address that has not failed.
  await login('198.51.100.2', 'bob')
  await app.anomaly.settle()
  t.equal(eventsOf('anomaly_guard.detected').length, 1)
  await login('192.0.2.3', 'bob')
  await app.anomaly.settle()
  const labels = eventsOf('anomaly_guard.detected').map(
    ({ details }) => (details as { label: string }).label,
  )
  t.same(labels, ['distributed_brute_force', 'account_takeover'])
  t.ok(app.anomaly.incidents().some(({ pattern }) => pattern === 'account_takeover'))
})

await t.test('two open incidents of different patterns justify a lockdown', async (t) => {
  const { app, failLogin, send, handled } = await build(t, { mode: 'alert' })
  for (let attempt = 0; attempt < 5; attempt++) await failLogin('192.0.2.7')
  for (let sent = 0; sent < 10; sent++) await send('/export', '192.0.2.8')
  await app.anomaly.settle()
  const anonymous = app.anomaly.incidents().map(({ id }) => id)
  t.equal(anonymous.length, 2)
  const headers = { 'x-user': 'u-1' }
  for (let attempt = 0; attempt < 8; attempt++) await failLogin(`198.51.100.${attempt}`, 'bob')
  for (let sent = 0; sent < 10; sent++) await send('/export', '192.0.2.9', { headers })
  await app.anomaly.settle()
  const incidents = app.anomaly
    .incidents()
    .map(({ id }) => id)
    .filter((id) => !anonymous.includes(id))
  t.equal(incidents.length, 2)
  const reason = 'two attacks'
  const { contain } = app.anomaly
  const unfounded = { code: 'PARAPET_ANOMALY_GUARD_LOCKDOWN_UNFOUNDED', statusCode: 409 }
  await t.rejects(contain.lockdown({ reason, incidents: incidents.slice(1) }), unfounded)
  await t.rejects(contain.lockdown({ reason, incidents: anonymous }), unfounded, 'anonymous')
  await t.rejects(contain.readOnly({ reason }), unfounded)
  await t.rejects(contain.readOnly({ reason, incidents: anonymous }), unfounded)
  const { containment } = await contain.readOnly({ reason, incidents: incidents.slice(1) })
  t.equal(containment?.kind, 'read-only')
  await contain.lockdown({ reason, incidents })
  handled.length = 0
  t.equal((await send('/')).statusCode, 423)
  t.same(handled, [])
})

await t.test('an anomaly that a foreign hand wrote breaks no explanation', (t) => {
  const good = anomaly('flood', { reasons: ['because'] })
  t.match(parseAnomaly(JSON.stringify(good)), { id: good.id })
  const wrong: readonly object[] = [
    { time: 9e15 },
    { subject: { account: 5 } },
    { subject: { address: {} } },
    { reasons: 'x' },
    { reasons: [5] },
    { route: {} },
    { evidence: { count: 'x' } },
  ]
  for (const change of wrong) {
    t.equal(parseAnomaly(JSON.stringify({ ...good, ...change })), undefined, JSON.stringify(change))
  }
  t.end()
})

await t.test('the noise of one rule does not push out the evidence of another', async (t) => {
  const clock = createManualClock()
  const store = createMemoryStore({ clock })
  const { app, failLogin, send } = await build(t, { clock, store, mode: 'shadow' })
  for (let attempt = 0; attempt < 5; attempt++) await failLogin('203.0.113.66')
  for (let network = 0; network < 36; network++) {
    for (let host = 0; host < 32; host++) {
      const address = `2001:db8:${network.toString(16)}:${host.toString(16)}::1`
      await send('/?q=%3Cscript%3E', address)
    }
  }
  await app.anomaly.settle()
  const all = await app.anomaly.timeline(0)
  t.equal(all.filter(({ rule }) => rule === 'brute-force').length, 1)
  t.equal(all.filter(({ rule }) => rule === 'inspection').length, 1000, 'its share')
  t.ok(app.anomaly.incidents().some(({ pattern }) => pattern === 'brute_force'))
  const seen = app.anomaly.impact('inspection')
  t.equal(seen.anomalies, 36 * 31, '30 clients of a network, and the network')
  t.equal(seen.detections, 36 * 32)
})

await t.test('measures with a wrong argument are refused', async (t) => {
  const { app } = await build(t)
  const { contain } = app.anomaly
  const reason = 'test'
  const wrong: readonly (() => Promise<unknown>)[] = [
    () => contain.blockAddress('nonsense', { reason, by }),
    () => contain.blockAddress('0.0.0.0/0', { reason }),
    () => contain.challenge('192.0.2.0/31', { reason }),
    () => contain.tighten('address:2001:db8::/63', { reason }),
    () => contain.blockAddress('192.0.2.1', { reason: ' ', by }),
    () => contain.blockAddress('192.0.2.1', { reason, by, ttlMs: 5 }),
    () => contain.blockPrincipal('', { reason, by }),
    () => contain.tighten('192.0.2.1', { reason, by }),
    () => contain.tighten('address:192.0.2.1', { reason, by, factor: 2 }),
  ]
  for (const call of wrong) {
    await t.rejects(async () => call(), { code: 'PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT' })
  }
  t.equal(await contain.lift('no-such-id', { by }), undefined)
  const dry = await contain.blockAddress('192.0.2.0/24', { reason, by, dryRun: true })
  t.match(dry.containment, { target: { value: '192.0.2.0/24' } })
  t.same(contain.list(), [])
})

await t.test('while the store fails, anomalies are still found and reported', async (t) => {
  const failing = new Proxy({} as Store, {
    get: (_target, name) =>
      name === 'then' ? undefined : () => Promise.reject(new Error('the store is down')),
  })
  const { app, failLogin, send, eventsOf } = await build(t, { store: failing })
  for (let attempt = 0; attempt < 5; attempt++) await failLogin('192.0.2.7')
  t.equal((await send('/', '192.0.2.7')).statusCode, 403)
  await app.anomaly.settle()
  t.equal(eventsOf('anomaly_guard.contained').length, 1)
  t.equal(eventsOf('anomaly_guard.detected').length, 1)
  t.equal(app.anomaly.incidents().length, 1)
  t.equal(app.anomaly.isShared, false)
})

const line = (options: object) =>
  describeBoot({ rules: [{ name: 'x', mode: 'enforce', limit: 1 }] }, resolveOptions(options))

await t.test('the boot line says what is missing', (t) => {
  t.match(line({}), /enforces 1 of 1 rules.*Set "store".*Set "stepUp".*Set "revoke"/)
  const store = createMemoryStore()
  t.match(line({ store }), /Set "secret"/)
  const quiet = line({ store, secret: 's'.repeat(32), stepUp: () => {}, revoke: () => {} })
  t.equal(quiet, 'anomaly-guard enforces 1 of 1 rules, 0 alert, 0 only record.')
  t.end()
})
