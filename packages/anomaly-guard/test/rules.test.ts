import { runs } from '@parapet/testing'
import { rules, type Rule, type Signal } from '@parapet/anomaly-guard'
import t from 'tap'
import { createBudget } from '../src/rules/budget.ts'
import { createEventReader, knownEvents } from '../src/rules/event-signals.ts'
import { createRuleEngine } from '../src/rules/rule-engine.ts'
import { createSessionMoves } from '../src/rules/session-moves.ts'

type Facts = Partial<Signal> & { readonly name: string }

/** Feeds signals one by one; returns the labels of what each detected. */
function run(list: readonly Rule[], signals: readonly Facts[]): (string | undefined)[] {
  const engine = createRuleEngine(list)
  return signals.map((facts) => {
    const [found] = engine.observe({ atMs: 1000, address: '192.0.2.1', ...facts })
    return found?.label
  })
}

const repeat = (count: number, make: (index: number) => Facts): Facts[] =>
  Array.from({ length: count }, (_, index) => make(index))

/** Asserts that a rule is silent before its limit and speaks at it. */
async function assertLimit(
  name: string,
  rule: Rule,
  limit: number,
  make: (index: number) => Facts,
) {
  await t.test(name, async (t) => {
    const found = run([rule], repeat(limit, make))
    t.same(found.slice(0, -1), Array.from({ length: limit - 1 }), `${limit - 1} are not detected`)
    t.type(found.at(-1), 'string', `the ${limit}th is detected`)
    const late = repeat(limit, (index) => ({
      ...make(index),
      atMs: 1000 + Math.ceil((index * rule.withinMs) / (limit - 1 || 1)),
    }))
    if (limit > 1) t.same(run([rule], late), Array.from({ length: limit }), 'the window slides')
  })
}

await assertLimit('5 failed logins of an address in 5 minutes', rules.bruteForce(), 5, () => ({
  name: 'login-failed',
  account: 'a',
}))
await assertLimit('failed logins on one account from 8 addresses', rules.distributed(), 8, (i) => ({
  name: 'login-failed',
  account: 'a',
  address: `192.0.2.${i}`,
}))
await assertLimit('one password on 8 accounts', rules.spraying(), 8, (i) => ({
  name: 'login-failed',
  account: `a${i}`,
  secret: 's',
  address: `192.0.2.${i}`,
}))
await assertLimit('50 ids of one route in 60 seconds', rules.enumeration(), 50, (i) => ({
  name: 'resource',
  route: 'GET /users/:id',
  resource: `${i * 7}`,
}))
await assertLimit('10 exports in 5 minutes', rules.massExport(), 10, () => ({ name: 'export' }))
await assertLimit('15 unknown paths in 60 seconds', rules.scanner(), 15, (i) => ({
  name: 'unmatched',
  resource: `/${i}.php`,
}))
await assertLimit('100 files in 5 minutes', rules.fileAccess(), 100, () => ({ name: 'file' }))
await assertLimit('30 exceeded limits', rules.limitAbuse(), 30, () => ({ name: 'rate-limited' }))
await assertLimit('20 denials', rules.forbiddenAccess(), 20, () => ({ name: 'access-denied' }))
await assertLimit('20 refused tokens', rules.tokenGuessing(), 20, () => ({ name: 'token-refused' }))
await assertLimit('400 requests in 10 seconds', rules.flood(), 400, () => ({ name: 'request' }))
await assertLimit('3 attacks in payloads', rules.payloads(), 3, () => ({ name: 'payload-attack' }))
await assertLimit('3 stolen sessions at one address', rules.sessionHopping(), 3, (i) => ({
  name: 'session-moved',
  sessionId: `s${i}`,
}))
await assertLimit('10 failures of one detection point', rules.detectionPoints(), 10, () => ({
  name: 'detection-point',
  resource: 'coupon',
}))
await assertLimit('24 exports in 12 hours', rules.slowExport(), 24, () => ({ name: 'export' }))
await assertLimit('400 resources in 20 minutes', rules.scraping(), 400, (i) => ({
  name: 'resource',
  resource: `${i}`,
}))

await t.test('a gigabyte in an hour is a large transfer', async (t) => {
  const found = run(
    [rules.largeTransfer()],
    repeat(11, () => ({ name: 'request', amount: 100_000_000 })),
  )
  t.same(found, [...Array.from({ length: 9 }), 'large_transfer', 'large_transfer'])
})

await t.test('the same ids again and again are no enumeration', async (t) => {
  const found = run(
    [rules.enumeration()],
    repeat(500, (i) => ({ name: 'resource', route: 'GET /x/:id', resource: `${i % 49}` })),
  )
  t.ok(found.every((label) => label === undefined))
})

const lastLabel = (make: (index: number) => Facts) =>
  run([rules.bruteForce()], repeat(5, make)).at(-1)

await t.test('failed logins are named by their accounts and passwords', async (t) => {
  const name = 'login-failed'
  t.equal(
    lastLabel((i) => ({ name, account: 'a', secret: `s${i}` })),
    'brute_force',
  )
  t.equal(
    lastLabel((i) => ({ name, account: `a${i}`, secret: `s${i}` })),
    'credential_stuffing',
  )
  t.equal(
    lastLabel((i) => ({ name, account: `a${i}`, secret: 's' })),
    'password_spraying',
  )
  t.equal(
    lastLabel((i) => ({ name, account: `a${i}` })),
    'credential_stuffing',
  )
})

await t.test(
  'a rule counts only what its condition lets through and what has its key',
  async (t) => {
    const rule = rules.define('big-transfers', {
      on: ['transfer', 'payout'],
      by: 'principalId',
      limit: 2,
      withinMs: 1000,
      where: ({ amount = 0 }) => amount > 100,
    })
    const facts = { principalId: 'u', amount: 200 }
    t.same(
      run(
        [rule],
        [
          { name: 'transfer', ...facts },
          { name: 'payout', ...facts },
        ],
      ),
      [undefined, 'big-transfers'],
    )
    t.same(
      run(
        [rule],
        repeat(3, () => ({ name: 'payout', amount: 200 })),
      ).filter(Boolean),
      [],
    )
    const small = repeat(3, () => ({ name: 'payout', principalId: 'u', amount: 5 }))
    t.same(run([rule], small).filter(Boolean), [])
    const together = rules.define('all', { on: 'x', by: 'everyone', limit: 2, withinMs: 1000 })
    const others = repeat(2, (i) => ({ name: 'x', address: `192.0.2.${i}` }))
    t.same(run([together], others), [undefined, 'all'])
  },
)

await t.test('a rule that is out of range is refused as it is defined', async (t) => {
  const good = { on: 'x', by: 'client', limit: 1, withinMs: 1000 } as const
  const bad: readonly [string, object][] = [
    ['UPPER', good],
    ['x', { ...good, limit: 0 }],
    ['x', { ...good, limit: 10_001 }],
    ['x', { ...good, limit: 1.5 }],
    ['x', { ...good, withinMs: 0 }],
    ['x', { ...good, maxKeys: 0 }],
    ['x', { ...good, falsePositiveRatio: 0.5 }],
    ['x', { ...good, on: undefined }],
    ['x', { ...good, on: [] }],
    ['x', { ...good, by: 'adress' }],
    ['x', { ...good, by: ['client', 'route', 'resource'] }],
    ['x', { ...good, count: 'sum' }],
    ['x', { ...good, count: { distinct: 'rsource' } }],
    ['x', { ...good, also: { many: 'acount' } }],
    ['x', { ...good, respond: ['ban'] }],
    ['x', { ...good, mode: 'on' }],
    ['x', { ...good, severity: 'bad' }],
    ['x', { ...good, where: 'amount > 5' }],
  ]
  for (const [name, definition] of bad) {
    t.throws(() => rules.define(name, definition as never), {
      code: 'PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT',
      statusCode: 500,
    })
  }
  t.ok(rules.define('sum', { ...good, count: 'amount', limit: 1e12 }))
})

await t.test('a budget lets the given share of ordinary readings through', async (t) => {
  const ratio = 0.001
  const budget = createBudget(ratio)
  let state = 1
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
  // Each reading is of another client; the scale has a long tail.
  const reading = () => -Math.log(random())
  for (let index = 0; index < 50_000; index++) budget.learn(index, reading())
  let exceeded = 0
  const after = runs(200_000, 2_000_000)
  for (let index = 0; index < after; index++) {
    const value = reading()
    if (value > budget.learn(1_000_000 + index, value)) exceeded++
  }
  const share = exceeded / after / ratio
  t.ok(share > 0.8 && share < 1.25, `${share} of the budget was used`)
})

await t.test('one client cannot raise the limit of a budget by repetition', async (t) => {
  const budget = createBudget(0.01)
  for (let index = 0; index < 10_000; index++) budget.learn(index, 1 + (index % 5))
  const before = budget.threshold
  for (let index = 0; index < 3000; index++) budget.learn(-1, 1000)
  t.ok(budget.threshold <= before + 1, `${before} became ${budget.threshold}`)
})

await t.test('a rule with a budget raises its limit with ordinary traffic', async (t) => {
  const rule = rules.flood({ limit: 5, withinMs: 10_000, falsePositiveRatio: 0.01 })
  const engine = createRuleEngine([rule])
  let at = 0
  const send = (address: string) => engine.observe({ name: 'request', atMs: at, address })
  for (let round = 0; round < 400; round++) {
    at += 20_000
    for (let sent = 0; sent < 8; sent++) send(`10.0.${round >> 8}.${round & 255}`)
  }
  t.equal(engine.limitOf('flood'), 8)
  t.equal(engine.limitOf('no-such-rule'), undefined)
  t.ok(engine.sizes['flood']! > 0)
  at += 20_000
  const found = Array.from({ length: 12 }, () => send('192.0.2.1').length)
  t.same(found, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
})

await t.test('an attacker does not switch a rule with a budget off', async (t) => {
  const rule = rules.define('coupons', {
    on: 'coupon',
    by: 'client',
    limit: 10,
    withinMs: 600_000,
    falsePositiveRatio: 0.00001,
  })
  const engine = createRuleEngine([rule])
  const guess = (address: string, times: number, atMs: number) =>
    Array.from(
      { length: times },
      () => engine.observe({ name: 'coupon', atMs, address }).length,
    ).lastIndexOf(0) + 2
  guess('203.0.113.9', 45, 0)
  for (let client = 0; client < 20; client++) {
    const first = guess(`198.51.100.${client}`, 45, 3_600_000)
    t.ok(
      first <= 31,
      `guess ${first} of client ${client} is detected: at most three times the limit`,
    )
  }
  t.ok(engine.limitOf('coupons')! <= 30)
  for (let sent = 0; sent < 600; sent++) guess(`198.51.101.${sent % 20}`, 1, 7_200_000)
  t.equal(engine.limitOf('coupons'), 30)
  engine.resetBudget('coupons')
  engine.resetBudget('no-such-rule')
  t.equal(engine.limitOf('coupons'), 10)
})

await t.test('a session moves if another client uses it from elsewhere, soon', async (t) => {
  const moves = createSessionMoves(2)
  const use = (
    sessionId: string,
    atMs: number,
    address: string,
    userAgent: string,
    country?: string,
  ) => moves.observe({ sessionId, atMs, address, userAgent, country })
  t.equal(use('s', 0, 'a', 'Firefox', 'DE'), undefined)
  t.equal(use('s', 1000, 'b', 'Firefox', 'DE'), undefined, 'another network, the same browser')
  t.equal(use('s', 2000, 'b', 'Firefox 2', 'DE'), undefined, 'a new browser in the same place')
  t.equal(use('s', 3000, 'c', 'curl', 'DE'), 'client')
  t.equal(use('s', 4000, 'b', 'Firefox 2', 'FR'), 'client country')
  t.equal(use('s', 9_000_000, 'd', 'Chrome', 'FR'), undefined, 'much later it is a new login')
  t.equal(use('s', 99_000_000, 'e', 'Opera', 'US'), 'client country', 'but not in another country')
  t.equal(use('c', 0, 'a', 'Firefox', 'DE'), undefined)
  t.equal(use('c', 1000, 'b', 'Firefox', 'BR'), 'client country', 'a copied user agent, abroad')
  t.equal(use('d', 0, 'a', 'Firefox', 'DE'), undefined)
  t.equal(use('d', 3_600_000, 'b', 'Firefox', 'BR'), undefined, 'a traveller')
  use('t', 0, 'a', 'x')
  use('u', 0, 'a', 'x')
  t.equal(moves.size, 2, 'the memory is bounded')
})

await t.test('events are read by their type, and the own ones never', async (t) => {
  const read = createEventReader({
    'shop.refused': { signal: 'coupon', account: 'code' },
    'rbac.denied': null,
    'anomaly_guard.detected': { signal: 'login-failed' },
  })
  const details = { loginHash: 'h', code: 'c', number: 1 }
  t.same(read({ type: 'sessions.login_failed', details }), { name: 'login-failed', account: 'h' })
  t.same(read({ type: 'mfa.failed', principalId: 'u', details }), {
    name: 'login-failed',
    account: 'u',
  })
  t.same(read({ type: 'shop.refused', details }), { name: 'coupon', account: 'c' })
  t.same(read({ type: 'shop.refused', details: { code: 5 } }), {
    name: 'coupon',
    account: undefined,
  })
  for (const type of [
    'rbac.denied',
    'anomaly_guard.detected',
    'audit_log.stalled',
    'constructor',
  ]) {
    t.equal(read({ type, details }), undefined, type)
  }
  t.ok(Object.keys(knownEvents).every((type) => /^[a-z_]+\.[a-z_]+$/.test(type)))
})

const succeed = (account: string, more: object = {}): Facts => ({
  name: 'login-succeeded',
  account,
  ...more,
})

await t.test('where several users log in, a few more failures are no guessing', (t) => {
  const fail: Facts = { name: 'login-failed', account: 'x' }
  const failuresAfter = (successes: readonly Facts[], more: object = {}) =>
    run([rules.bruteForce()], [...successes, ...repeat(30, () => ({ ...fail, ...more }))])
      .slice(successes.length)
      .findIndex((label) => label !== undefined) + 1
  t.equal(failuresAfter([]), 5)
  t.equal(failuresAfter([succeed('a')]), 5, 'one user has the plain limit')
  t.equal(failuresAfter([succeed('a'), succeed('a')]), 5, 'however often')
  t.equal(failuresAfter([succeed('a'), succeed('b'), succeed('c')]), 7)
  t.equal(failuresAfter(repeat(100, (index) => succeed(`a${index}`))), 25, 'twenty more at most')
  const elsewhere = repeat(9, (index) => succeed(`a${index}`, { address: '192.0.2.9' }))
  t.equal(failuresAfter(elsewhere), 5, 'another address')
  const atMs = 1000 + 86_400_000
  t.equal(failuresAfter([succeed('a'), succeed('b')], { atMs }), 5, 'a day later')
  t.equal(failuresAfter([succeed('a'), succeed('b')], { atMs: atMs - 1 }), 6)
  for (const allowance of [
    { on: '', distinct: 'acount', withinMs: 1, most: 1 },
    { on: 'x', distinct: 'account', withinMs: 0, most: 1 },
    { on: 'x', distinct: 'account', withinMs: 1, most: 0 },
  ]) {
    t.throws(() => rules.bruteForce({ allowance: allowance as never }), {
      code: 'PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT',
    })
  }
  const base = { on: 'x', by: 'address', limit: 2, withinMs: 1000 } as const
  const allowance = { on: 'y', distinct: 'account', withinMs: 1000, most: 1 } as const
  t.throws(() => rules.define('own', { ...base, count: 'amount', allowance }))
  t.end()
})
