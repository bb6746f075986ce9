import { createManualClock, createMemoryStore, type Store } from '@parapet/kit'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createActive } from '../src/contain/active.ts'
import { blockOf, parseBlock, readAddress, type AddressBits } from '../src/contain/address.ts'
import { createAllowlist } from '../src/contain/allowlist.ts'
import {
  parseContainment,
  slotOf,
  type Containment,
  type Target,
} from '../src/contain/containment.ts'
import { createContainments, type ContainmentOrder } from '../src/contain/containments.ts'
import { climb, formatStrikes, parseStrikes } from '../src/contain/ladder.ts'
import { createPorts } from '../src/contain/ports.ts'
import { PrefixTable } from '../src/contain/prefix-table.ts'
import { createClientCounter, createShareCap } from '../src/contain/share-cap.ts'
import { shareContainments } from '../src/contain/shared-containments.ts'
import { createKeyHash } from '../src/windows/key-hash.ts'

const HOUR = 3_600_000
const ladder = { stepsMs: [HOUR, 24 * HOUR, 168 * HOUR], decayMs: 168 * HOUR }

const read = (text: string): AddressBits => {
  const bits: AddressBits = { isV4: true, high: 0, low: 0 }
  if (!readAddress(text, bits)) throw new Error(`${text} is no address`)
  return bits
}

const v4 = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 255 })))
const v6 = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 0xffff })))
const toV4 = (parts: readonly number[]): string => parts.join('.')
const toV6 = (parts: readonly number[]): string =>
  `${parts.map((part) => part.toString(16)).join(':')}::1`

const mask = (word: number, kept: number) =>
  kept >= 32 ? word >>> 0 : kept <= 0 ? 0 : (word & (-1 << (32 - kept))) >>> 0

/** A block that contains an address. */
function blockAround(address: string, bits: number): string {
  const { isV4, high, low } = read(address)
  const length = Math.min(bits, isV4 ? 32 : 64)
  if (isV4) {
    const kept = mask(low, length)
    return `${[24, 16, 8, 0].map((shift) => (kept >>> shift) & 255).join('.')}/${length}`
  }
  const words = [mask(high, length), mask(low, length - 32)]
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff])
  return `${groups.map((group) => group.toString(16)).join(':')}::/${length}`
}

await t.test('addresses are read in every form that a proxy may write', async (t) => {
  t.same(read('192.0.2.7'), { isV4: true, high: 0, low: 0xc0000207 })
  t.same(read('::ffff:192.0.2.7'), read('192.0.2.7'))
  t.same(read('64:ff9b::c000:207'), read('192.0.2.7'))
  t.same(read('192.0.2.7:443'), read('192.0.2.7'))
  t.same(read('[2001:db8::1]:443'), { isV4: false, high: 0x20010db8, low: 0 })
  const bits: AddressBits = { isV4: true, high: 0, low: 0 }
  for (const text of ['', '1.2.3', '256.1.1.1', '01.2.3.4', '1.2.3.4.5', 'x', '1..2.3']) {
    t.notOk(readAddress(text, bits), text)
  }
})

await t.test('blocks are canonical, and what is none says why', async (t) => {
  t.equal(parseBlock('10.0.0.0/8').text, '10.0.0.0/8')
  t.equal(parseBlock('192.0.2.7').text, '192.0.2.7')
  t.equal(parseBlock('2001:db8::1').text, '2001:db8:0:0::/64', 'one client owns the /64')
  t.equal(parseBlock('2001:db8::/32').text, '2001:db8:0:0::/32')
  t.equal(parseBlock('::ffff:10.0.0.0/104').text, '10.0.0.0/8')
  t.match(blockOf('10.0.0.1/8'), /bits set behind/)
  for (const text of ['10.0.0.0/33', '10.0.0.0/x', '2001:db8::/129', '10.0.0.0/08']) {
    t.match(blockOf(text), /prefix length/, text)
  }
  for (const text of ['', 'x', 'fe80::1%eth0', '/8']) t.match(blockOf(text), /must be an IP/, text)
  t.throws(() => parseBlock('x'), { code: 'PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT' })
})

await t.test('the table finds what a scan of all blocks finds', async (t) => {
  const address = fc.oneof(v4.map(toV4), v6.map(toV6))
  const block = fc.tuple(address, fc.integer({ min: 0, max: 64 }))
  fc.assert(
    fc.property(
      fc.array(block, { minLength: 1, maxLength: 12 }),
      fc.array(address, { maxLength: 10 }),
      fc.nat(11),
      (given, others, removed) => {
        const table = new PrefixTable()
        const blocks = given.map(([near, bits]) => parseBlock(blockAround(near, Math.max(bits, 5))))
        blocks.forEach((each, index) => table.add(each, index + 1))
        const gone = removed % blocks.length
        table.remove(blocks[gone]!, gone + 1)
        for (const text of [...given.map(([near]) => near), ...others]) {
          const bits = read(text)
          const found = new Set<number>()
          table.some(bits, (value) => {
            found.add(value)
            return false
          })
          const expected = blocks
            .map((each, index) => [each, index] as const)
            .filter(([each, index]) => index !== gone && blockContains(each.text, text))
            .map(([, index]) => index + 1)
          if (!expected.every((value) => found.has(value)) || found.size !== expected.length) {
            throw new Error(`${text}: found ${[...found].join()}, expected ${expected.join()}`)
          }
        }
      },
    ),
    { numRuns: runs(300, 20_000) },
  )
  t.pass('every lookup agreed')
})

function blockContains(block: string, address: string): boolean {
  const { isV4, prefixBits, text } = parseBlock(block)
  return read(address).isV4 === isV4 && parseBlock(blockAround(address, prefixBits)).text === text
}

await t.test('a block of everything contains everything of its kind', async (t) => {
  const table = new PrefixTable()
  table.add(parseBlock('0.0.0.0/0'), 1)
  t.ok(table.some(read('192.0.2.1'), () => true))
  t.notOk(table.some(read('2001:db8::1'), () => true))
  table.add(parseBlock('::/0'), 2)
  t.ok(table.some(read('2001:db8::1'), () => true))
  table.remove(parseBlock('0.0.0.0/0'), 1)
  t.notOk(table.some(read('192.0.2.1'), () => true))
})

await t.test('the ladder grows with repetitions and forgets with time', async (t) => {
  let now = 0
  let strikes = climb(undefined, now, ladder).strikes
  const durations = [1, 2, 3].map(() => {
    const step = climb(strikes, now, ladder)
    strikes = step.strikes
    return step.ttlMs / HOUR
  })
  t.same(durations, [24, 168, 168])
  now += 2 * ladder.decayMs
  t.equal(climb(strikes, now, ladder).level, 2, 'two of four are forgotten')
  now += 2 * ladder.decayMs
  t.equal(climb(strikes, now, ladder).ttlMs, HOUR)
  t.same(parseStrikes(formatStrikes(strikes)), strikes)
  for (const text of [null, '', 'x y', '-1 5', '1']) t.equal(parseStrikes(text), undefined)
})

await t.test('about as many clients are counted as there were in the last minutes', async (t) => {
  const counter = createClientCounter(600_000)
  const hash = createKeyHash()
  t.equal(counter.estimate(0), 0)
  for (const count of [10, 1000, 50_000]) {
    for (let index = 0; index < count; index++) counter.observe(hash(`${count} ${index}`), 1000)
  }
  const estimate = counter.estimate(1000)
  t.ok(Math.abs(estimate / 51_010 - 1) < 0.03, `${estimate} of 51010`)
  t.ok(counter.estimate(310_000) > 50_000, 'half a window later they still count')
  t.equal(counter.estimate(700_000), 0)
})

interface Parts {
  readonly clock: ReturnType<typeof createManualClock>
  readonly active: ReturnType<typeof createActive>
  readonly containments: ReturnType<typeof createContainments>
  readonly contained: Containment[]
  readonly lifted: Containment[]
  readonly caps: ContainmentOrder[]
  readonly failures: string[]
  readonly see: (clients: number) => void
}

async function createParts(
  t: Test,
  {
    store,
    clock = createManualClock(),
    allow = [],
    principals = [],
    maxContainments = 1000,
  }: {
    store?: Store
    clock?: ReturnType<typeof createManualClock>
    allow?: readonly string[]
    principals?: readonly string[]
    maxContainments?: number
  } = {},
): Promise<Parts> {
  const own = store ?? createMemoryStore({ clock })
  const active = createActive()
  const [contained, lifted, caps, failures]: [
    Containment[],
    Containment[],
    ContainmentOrder[],
    string[],
  ] = [[], [], [], []]
  const report = {
    contained: (each: Containment) => void contained.push(each),
    lifted: (each: Containment) => void lifted.push(each),
    capReached: (order: ContainmentOrder) => void caps.push(order),
    failed: (_error: unknown, what: string) => void failures.push(what),
  }
  const clients = createClientCounter(600_000)
  const shared = shareContainments({ store: own, clock, active, onError: () => {} })
  await shared.start()
  t.after(() => shared.stop())
  const hash = createKeyHash()
  return {
    clock,
    active,
    contained,
    lifted,
    caps,
    failures,
    see: (count) => {
      for (let index = 0; index < count; index++) clients.observe(hash(`c ${index}`), clock.now())
    },
    containments: createContainments({
      store: own,
      clock,
      active,
      shared,
      allowlist: createAllowlist(allow, principals),
      cap: createShareCap({ maxBlockedRatio: 0.1, minBlocked: 3, clients, tick: clock.now }),
      ladder,
      ports: createPorts({}, clock),
      report,
      maxContainments,
    }),
  }
}

const at = (value: string): Target => ({ type: 'address', value })
const block = (value: string, more: Partial<ContainmentOrder> = {}): ContainmentOrder => ({
  kind: 'block',
  target: at(value),
  reason: 'test',
  ...more,
})

await t.test('100 simultaneous detections on 4 instances make one containment', async (t) => {
  const clock = createManualClock()
  const store = createMemoryStore({ clock })
  const fleet = await Promise.all([1, 2, 3, 4].map(() => createParts(t, { store, clock })))
  for (let detection = 0; detection < 100; detection++) {
    fleet[detection % 4]!.containments.order(block('192.0.2.7'))
  }
  for (const { active } of fleet) {
    t.ok(active.ofAddress(read('192.0.2.7'), clock.now()), 'it holds before anything was awaited')
  }
  await Promise.all(fleet.map(({ containments }) => containments.settle()))
  const all = fleet.flatMap(({ contained }) => contained)
  t.equal(all.length, 1, 'one event')
  const ids = new Set(
    fleet.map(({ active }) => active.ofAddress(read('192.0.2.7'), clock.now())?.id),
  )
  t.same([...ids], [all[0]!.id], 'all instances have the same one')
  const [first, second] = fleet
  await first!.containments.lift(all[0]!.id, 'op', HOUR)
  t.equal(second!.active.ofAddress(read('192.0.2.7'), clock.now()), undefined)
  t.equal(second!.containments.order(block('192.0.2.7')).spared, 'grace')
  clock.advance(HOUR + 1)
  second!.containments.order(block('192.0.2.7'))
  await second!.containments.settle()
  t.equal(second!.contained.at(-1)?.level, 1, 'the strikes are of the whole fleet')
  t.equal(second!.contained.at(-1)!.until - clock.now(), 24 * HOUR)
})

await t.test('an operator is not bound by grace, cap or what is in force', async (t) => {
  const { containments, clock, contained } = await createParts(t)
  const first = containments.order(block('192.0.2.7'))
  await containments.settle()
  const id = contained[0]!.id
  t.equal(first.isNew, true)
  t.equal(containments.order(block('192.0.2.7')).isNew, false)
  const longer = containments.order(block('192.0.2.7', { by: 'op', ttlMs: 5 * HOUR }))
  t.equal(longer.isNew, true)
  await containments.settle()
  t.equal(await containments.lift(id, 'op', HOUR), undefined, 'it was replaced')
  const last = contained.at(-1)!
  t.equal(last.until - clock.now(), 5 * HOUR)
  t.ok(await containments.lift(last.id, 'op', HOUR))
  t.ok(containments.order(block('192.0.2.7', { by: 'op' })).containment)
  await containments.settle()
})

await t.test('a dry run changes nothing', async (t) => {
  const { containments, active, contained } = await createParts(t)
  const { containment, isNew } = containments.order(block('192.0.2.7', { dryRun: true }))
  t.match(containment, { kind: 'block', level: 0 })
  t.equal(isNew, true)
  await containments.settle()
  t.equal(active.size, 0)
  t.same(contained, [])
})

await t.test('at most a share of the recent clients is blocked automatically', async (t) => {
  const { containments, caps, see, clock } = await createParts(t)
  const blockNext = (start: number, count: number) =>
    Array.from({ length: count }, (_, index) =>
      containments.order(block(`10.${start}.${index >> 8}.${index & 255}`)),
    ).filter(({ containment }) => containment !== undefined).length
  t.equal(blockNext(1, 10), 3, 'a small service has a minimum')
  t.equal(caps.length, 1, 'one alert a minute')
  see(1000)
  t.ok(Math.abs(blockNext(2, 300) - 97) < 4, '10 % of a thousand, less the three')
  t.equal(blockNext(3, 5), 0)
  t.ok(containments.order(block('192.0.2.1', { by: 'op' })).containment, 'an operator may')
  clock.advance(600_001)
  t.equal(blockNext(4, 10), 3, 'ten minutes later there is room again')
  await containments.settle()
})

await t.test('a short containment does not keep the next one from being shared', async (t) => {
  const { containments, contained, clock } = await createParts(t)
  for (let time = 0; time < 2; time++) {
    containments.order(block('192.0.2.7', { ttlMs: 1000 }))
    await containments.settle()
    clock.advance(1001)
  }
  t.equal(contained.length, 2)
})

await t.test('a repetition is one of the same measure', async (t) => {
  const { containments, contained } = await createParts(t)
  const target: Target = { type: 'principal', value: 'u-1' }
  for (const kind of ['step-up', 'revoke'] as const) {
    containments.order({ kind, target, reason: 'test' })
  }
  await containments.settle()
  t.same(
    contained.map(({ kind, level }) => `${kind} ${level}`),
    ['step-up 0', 'revoke 0'],
  )
})

await t.test('a store that hangs holds up neither an operator nor the end', async (t) => {
  const clock = createManualClock()
  const store = createMemoryStore({ clock })
  const { containments, active, failures } = await createParts(t, { store, clock })
  t.intercept(store, 'setIfAbsent', { value: () => new Promise(() => {}) })
  const { containment } = containments.order(block('192.0.2.7'))
  const waiting = [containments.established(containment!), containments.settle()]
  clock.advance(10_000)
  await Promise.all(waiting)
  t.same(failures, ['share what was ordered', 'share what was ordered'])
  t.ok(active.ofAddress(read('192.0.2.7'), clock.now()), 'it holds here')
})

await t.test('the number of containments is bounded', async (t) => {
  const { containments, active } = await createParts(t, { maxContainments: 2 })
  const order = (address: string) => containments.order({ ...block(address), kind: 'challenge' })
  order('192.0.2.1')
  order('192.0.2.2')
  t.equal(order('192.0.2.3').spared, 'capacity')
  await containments.settle()
  t.equal(active.size, 2)
})

await t.test('an allowlisted client is never contained', async (t) => {
  const cases = runs(3000, 100_000)
  const client = fc.oneof(v4.map(toV4), v6.map(toV6))
  const kind = fc.constantFrom<Containment['kind']>('block', 'challenge', 'tighten', 'step-up')
  const attack = fc.record({
    kind,
    bits: fc.integer({ min: 4, max: 64 }),
    byOperator: fc.boolean(),
  })
  let tried = 0
  await fc.assert(
    fc.asyncProperty(
      client,
      fc.integer({ min: 4, max: 64 }),
      fc.array(attack, { minLength: 1, maxLength: 4 }),
      async (address, allowedBits, attacks) => {
        tried++
        const clock = createManualClock()
        const active = createActive()
        const allowlist = createAllowlist([blockAround(address, allowedBits)], ['u-1'])
        const clients = createClientCounter(600_000)
        const store = createMemoryStore({ clock })
        const shared = shareContainments({ store, clock, active, onError: () => {} })
        const containments = createContainments({
          store,
          clock,
          active,
          shared,
          allowlist,
          cap: createShareCap({ maxBlockedRatio: 1, minBlocked: 1000, clients, tick: clock.now }),
          ladder,
          ports: createPorts({}, clock),
          report: { contained() {}, lifted() {}, capReached() {}, failed() {} },
          maxContainments: 1000,
        })
        for (const { kind: measure, bits, byOperator } of attacks) {
          const by = byOperator ? 'op' : undefined
          const order = { kind: measure, reason: 'test', by }
          const around = parseBlock(blockAround(address, bits)).text
          containments.order({ ...order, target: at(around) })
          containments.order({ ...order, target: at(parseBlock(address).text) })
          containments.order({ ...order, target: { type: 'principal', value: 'u-1' } })
        }
        // As the hook does it: an allowed address passes, whatever is in force around it.
        const bits = read(address)
        const isRefused = !allowlist.hasClient(address) && active.ofAddress(bits, clock.now())
        const own = active.inSlot(slotOf('block', at(parseBlock(address).text)))
        if (isRefused || (own !== undefined && allowedBits <= 64 && isExact(own, address))) {
          throw new Error(`${address} is contained`)
        }
        if (active.ofPrincipal('u-1', clock.now()) !== undefined)
          throw new Error('u-1 is contained')
        await store.close()
      },
    ),
    { numRuns: cases },
  )
  t.equal(tried, cases)
})

function isExact({ target }: Containment, address: string): boolean {
  return target.value === parseBlock(address).text
}

await t.test('an IPv6 address is allowed exactly, a block as a whole', async (t) => {
  const list = createAllowlist(['2001:db8::1', '2001:db8:1::/120', '2001:db8:2::/48'], [])
  for (const ip of ['2001:db8::1', '[2001:db8::1]:443', '2001:db8:1::ff', '2001:db8:2:5::9']) {
    t.ok(list.hasClient(ip), ip)
  }
  for (const ip of ['2001:db8::2', '2001:db8::bad', '2001:db8:1::100', '192.0.2.1', 'x']) {
    t.notOk(list.hasClient(ip), ip)
  }
  t.notOk(list.has(at('2001:db8:0:0::/64')), 'the neighbours of an allowed address are contained')
})

await t.test('what a foreign hand wrote into the store breaks nothing', async (t) => {
  const good: Containment = {
    id: 'x',
    kind: 'block',
    target: { type: 'address', value: '192.0.2.7' },
    createdAt: 1,
    until: 2,
    reason: 'r',
    by: null,
    level: 0,
  }
  t.match(parseContainment(JSON.stringify(good)), good)
  const wrong: readonly object[] = [
    { kind: 'burn' },
    { until: '2' },
    { until: 0.5 },
    { by: 5 },
    { target: null },
    { target: { type: 'planet', value: 'x' } },
    { reason: 'x'.repeat(5000) },
    { until: 9e15 },
  ]
  for (const change of wrong)
    t.equal(parseContainment(JSON.stringify({ ...good, ...change })), undefined)
  for (const text of ['', 'null', '[]', '{', '5']) t.equal(parseContainment(text), undefined)

  const clock = createManualClock()
  const store = createMemoryStore({ clock })
  const soon = { ...good, createdAt: clock.now(), until: clock.now() + 1000 }
  const { active } = await createParts(t, { store, clock })
  const bad = JSON.stringify({ ...soon, target: { type: 'address', value: 'nonsense' } })
  for (const message of [`+${bad}`, '-{}', '-x', '+x', '']) {
    await store.publish('anomaly-guard:contained', message)
  }
  await store.addMember('anomaly-guard:contained:3', bad, { ttlMs: 1000, maxMembers: 10 })
  await store.addMember('anomaly-guard:lifted', 'x', { ttlMs: 1000, maxMembers: 10 })
  await store.publish('anomaly-guard:contained', `+${JSON.stringify(soon)}`)
  t.equal(active.size, 1, 'only the good one')
  const late = await createParts(t, { store, clock })
  t.equal(late.active.size, 0, 'the good one is in no set')
})

await t.test('what the store has lost is given back, and a lift is not undone by it', async (t) => {
  const clock = createManualClock()
  const store = createMemoryStore({ clock })
  const first = await createParts(t, { store, clock })
  first.containments.order(block('192.0.2.7'))
  first.containments.order(block('192.0.2.8'))
  await first.containments.settle()
  await first.containments.lift(first.contained[1]!.id, 'op', 0)
  for (let shard = 0; shard < 16; shard++) await store.delete(`anomaly-guard:contained:${shard}`)
  clock.advance(60_001)
  await new Promise(setImmediate)
  const late = await createParts(t, { store, clock })
  t.ok(late.active.ofAddress(read('192.0.2.7'), clock.now()))
  t.equal(late.active.ofAddress(read('192.0.2.8'), clock.now()), undefined)
})

await t.test('expired containments are swept in small steps', async (t) => {
  const active = createActive()
  for (let index = 0; index < 100; index++) {
    active.put({
      id: `${index}`,
      kind: index % 2 === 0 ? 'block' : 'challenge',
      target: index % 3 === 0 ? { type: 'principal', value: `u${index}` } : at(`10.0.0.${index}`),
      createdAt: 0,
      until: index < 60 ? 10 : 100,
      reason: '',
      by: null,
      level: 0,
    })
  }
  for (let step = 0; step < 20; step++) active.sweep(50, 10)
  t.equal(active.size, 40)
  t.equal(active.list(50).length, 40)
  t.equal(active.ofAddress(read('10.0.0.2'), 50), undefined)
  t.ok(active.ofAddress(read('10.0.0.61'), 50))
})
