/** The behaviour score: features, learning, poisoning, drift, saving, and the table of keys. */
import { anomalyGuard } from '@parapet/anomaly-guard'
import Fastify from 'fastify'
import t from 'tap'
import { KeyTable, LAST_WINDOW, LIFE } from '../src/behaviour/key-table.ts'
import { createLearningGate } from '../src/behaviour/learning-gate.ts'
import { createBehaviourScorer } from '../src/behaviour/scorer.ts'
import { createSequences } from '../src/behaviour/sequences.ts'
import { recommend, severityOf } from '../src/behaviour/severity.ts'
import { createScoreThreshold } from '../src/behaviour/threshold.ts'
import type {
  BehaviourAnomaly,
  BehaviourScorer,
  BehaviourSettings,
  Outcome,
} from '../src/behaviour/types.ts'
import { createRandom, type Random } from '../src/forest/random.ts'

const MINUTE = 60_000
const START = Date.UTC(2026, 0, 5, 12)
const INVALID = 'PARAPET_ANOMALY_GUARD_INVALID_MODEL'

/** A service with its usual clients, and the clock that they share. */
class Traffic {
  readonly scorer: BehaviourScorer
  readonly random: Random
  now = START
  /** Multiplies what usual clients send and ask for. */
  scale = 1

  constructor(settings: BehaviourSettings = {}) {
    this.scorer = createBehaviourScorer({ seed: 3, ...settings })
    this.random = createRandom(11)
  }

  observe(outcome: Partial<Outcome> & { readonly key: string }): BehaviourAnomaly | undefined {
    const found = this.scorer.observe({
      atMs: this.now,
      statusCode: 200,
      method: 'GET',
      userAgent: `agent of ${outcome.key}`,
      country: 'IE',
      ...outcome,
    })
    while (this.scorer.work());
    return found
  }

  /** One minute of `clients`, each with 1 to 12 requests. @returns the anomalies. */
  minute(clients = 60): BehaviourAnomaly[] {
    const anomalies: BehaviourAnomaly[] = []
    for (let client = 0; client < clients; client++) {
      const key = `p:${this.random.below(400)}`
      const requests = 1 + this.random.below(12)
      for (let i = 0; i < requests; i++) {
        this.now += MINUTE / clients / requests
        const found = this.observe({
          key,
          address: `192.0.2.${key.length}`,
          route: `/page/${i % 5}`,
          statusCode: this.random.next() < 0.04 ? 404 : 200,
          bytesOut: this.scale * (500 + this.random.below(9000)),
          durationMs: 5 + this.random.below(60),
        })
        if (found !== undefined) anomalies.push(found)
      }
    }
    return anomalies
  }

  /** Runs until the model is ready. */
  learn(): this {
    while (this.scorer.phase !== 'ready') this.minute()
    for (let i = 0; i < 20; i++) this.minute()
    return this
  }
}

const names = (found: BehaviourAnomaly | undefined) =>
  found?.features.map(({ feature }) => feature) ?? []

const brute = {
  route: '/login',
  statusCode: 401,
  failedAuthentication: true,
  bytesOut: 200,
  durationMs: 90,
}

await t.test('the model is cold, then in shadow, then ready', async (t) => {
  const traffic = new Traffic()
  const phases = new Set<string>()
  t.equal(traffic.scorer.phase, 'cold')
  t.equal(traffic.scorer.save(), undefined, 'nothing to save')
  for (let i = 0; i < 40; i++) {
    for (const { phase } of traffic.minute()) if (phase === 'cold') t.fail('a score while cold')
    phases.add(traffic.scorer.phase)
  }
  t.same([...phases], ['cold', 'shadow', 'ready'])
  t.equal(traffic.scorer.scoreOf('p:nobody', traffic.now), undefined)
  traffic.observe({ key: 'p:1', route: '/page/1', bytesOut: 4000, durationMs: 30 })
  t.match(traffic.scorer.scoreOf('p:1', traffic.now), { anomalous: false, phase: 'ready' })
  t.equal(traffic.scorer.scoreOf('p:1', traffic.now + 5 * MINUTE), undefined, 'it is long ago')
})

await t.test('usual clients are rarely anomalous', async (t) => {
  const traffic = new Traffic().learn()
  let found = 0
  for (let i = 0; i < 40; i++) found += traffic.minute().length
  // 40 minutes are about 15 600 requests; the contamination is 1 in 1000.
  t.ok(found <= 31, `${found} anomalies`)
})

await t.test('each kind of unusual behaviour is found, explained and answered', async (t) => {
  const traffic = new Traffic().learn()
  const attack = (key: string, requests: number, outcome: (i: number) => Partial<Outcome>) => {
    let found: BehaviourAnomaly | undefined
    for (let i = 0; i < requests; i++) {
      traffic.now += 200
      found = traffic.observe({ key, ...outcome(i) }) ?? found
    }
    return found
  }
  const login = attack('a:192.0.2.66', 30, () => brute)
  t.match(login, { anomalous: true, phase: 'ready', recommendedAction: 'block-address' })
  t.ok(names(login).includes('failedAuthentications'), names(login).join())

  const transfer = attack('p:7', 40, () => ({ route: '/page/1', bytesOut: 40e6, durationMs: 40 }))
  t.equal(transfer?.recommendedAction, 'limit')
  t.ok(names(transfer).includes('bytesOut'), names(transfer).join())
  const [share] = transfer!.features
  t.ok(share!.value > share!.usual[1] && share!.deviation > 3 && share!.share > 0.2)

  const scan = attack('a:192.0.2.77', 60, (i) => ({
    route: undefined,
    statusCode: 404,
    bytesOut: 150,
    durationMs: 2,
    address: `203.0.113.${i}`,
  }))
  t.ok(
    names(scan).some((name) => ['errorRate', 'uniqueAddresses', 'requestRate'].includes(name)),
    names(scan).join(),
  )

  const stolen = attack('p:9', 12, (i) => ({
    userAgent: `other ${i}`,
    country: i % 2 === 0 ? 'BR' : 'VN',
    route: `/page/${i % 5}`,
    bytesOut: 5000,
    durationMs: 20,
  }))
  t.ok(
    names(stolen).some((name) => ['newUserAgent', 'geoAnomaly'].includes(name)),
    names(stolen).join(),
  )
})

await t.test('the window slides', async (t) => {
  const traffic = new Traffic().learn()
  for (let i = 0; i < 6; i++) traffic.observe({ key: 'p:x', ...brute })
  const scoreAt = (atMs: number) => traffic.scorer.scoreOf('p:x', atMs)!.score
  const [now, soon, later] = [0, 0.5 * MINUTE, 1.5 * MINUTE].map((wait) =>
    scoreAt(traffic.now + wait),
  )
  t.ok(now! >= soon! && now! > later!, `${now}, ${soon}, ${later}`)
})

await t.test('contained clients are scored, but teach nothing', async (t) => {
  const traffic = new Traffic().learn()
  const before = traffic.scorer.save()!
  for (let i = 0; i < 3000; i++) {
    traffic.now += 50
    traffic.observe({ key: `a:${i % 50}`, ...brute, contained: true })
  }
  t.same(traffic.scorer.save(), before, 'the model is the same, bit by bit')
  t.ok(traffic.observe({ key: 'a:1', ...brute, contained: true })!.score > 0.55)
})

await t.test('a slow attacker with 5 % of the traffic does not become usual', async (t) => {
  /** The share of attackers above the score that one usual client in 1000 exceeds. */
  const power = (traffic: Traffic) => {
    const usual: number[] = []
    for (let i = 0; i < 30; i++) {
      traffic.minute()
      for (let key = 0; key < 400; key++) {
        const found = traffic.scorer.scoreOf(`p:${key}`, traffic.now)
        if (found !== undefined) usual.push(found.score)
      }
    }
    usual.sort((a, b) => a - b)
    const limit = usual[Math.floor(usual.length * 0.999)]!
    const attackers = Array.from({ length: 100 }, (_, attacker) => {
      const key = `a:probe${attacker}`
      for (let i = 0; i < 12; i++) traffic.observe({ key, ...brute, contained: true })
      return traffic.scorer.scoreOf(key, traffic.now)!.score
    })
    return attackers.filter((score) => score > limit).length
  }
  const clean = new Traffic().learn()
  const poisoned = new Traffic().learn()
  for (let i = 0; i < 60; i++) {
    clean.minute()
    poisoned.minute()
    // Three attackers beside sixty clients, with 8 failed logins each, from other addresses each minute.
    for (let attacker = 0; attacker < 3; attacker++) {
      for (let n = 0; n < 8; n++) poisoned.observe({ key: `a:slow${i}.${attacker}`, ...brute })
    }
  }
  const [there, here] = [power(clean), power(poisoned)]
  t.ok(there >= 97, `${there} of 100 found without poison`)
  t.ok(here > there - 3, `${here} of 100 found with it`)
})

await t.test('one key teaches only a few rows in a window', async (t) => {
  const traffic = new Traffic({ maxRowsPerKey: 4, shadowRows: 300 })
  for (let i = 0; i < 2000; i++) traffic.observe({ key: 'p:busy' })
  t.equal(traffic.scorer.phase, 'cold', 'four rows are too few for a forest')
})

await t.test('a change of the service is seen as drift, and learnt', async (t) => {
  const traffic = new Traffic({ bufferRows: 2048 }).learn()
  for (let i = 0; i < 10; i++) traffic.minute()
  const calm = traffic.scorer.drift
  t.ok(calm.index < 0.25, `drift of ${calm.index.toFixed(2)} in ${calm.feature} before`)
  traffic.scale = 4000
  let events = 0
  while (traffic.scorer.drift.index < 0.25 && events < 4000) {
    traffic.minute(10)
    events += 65
  }
  t.ok(events <= 2000, `seen after about ${events} requests`)
  t.equal(traffic.scorer.drift.feature, 'bytesOut')
  for (let i = 0; i < 60; i++) traffic.minute()
  const rate = traffic.scorer.drift.anomalyRate
  t.ok(rate <= 0.02, `${rate} of the new usual rows are anomalous`)
})

await t.test(
  'a saved model scores the same, and only where the features are the same',
  async (t) => {
    const traffic = new Traffic().learn()
    const bytes = traffic.scorer.save()!
    const other = new Traffic({ seed: 99 })
    other.now = traffic.now
    other.scorer.load(bytes)
    t.equal(other.scorer.phase, 'ready')
    for (const each of [traffic, other])
      for (let i = 0; i < 9; i++) each.observe({ key: 'p:new', ...brute })
    const [there, here] = [traffic, other].map(({ scorer, now }) => scorer.scoreOf('p:new', now)!)
    t.ok(Math.abs(there!.score - here!.score) < 0.05, `${there!.score}, ${here!.score}`)
    t.equal(here!.threshold, there!.threshold)
    t.ok(other.observe({ key: 'p:new', ...brute })!.features.length === 3)
    t.same(new Traffic({ seed: 5 }).scorer.save(), undefined)

    const own = new Traffic({ features: [{ name: 'coupons' }] })
    t.throws(() => own.scorer.load(bytes), { code: INVALID })
    t.throws(() => own.scorer.load(new Uint8Array(100)), { code: INVALID })
    t.notMatch(Buffer.from(bytes).toString('latin1'), /agent of|192\.0\.2|p:1/, 'it names nobody')
  },
)

await t.test(
  "the user's own features are summed, kept at their greatest, or replaced",
  async (t) => {
    const features = [
      { name: 'coupons' },
      { name: 'largest', combine: 'max' },
      { name: 'level', combine: 'last', logarithmic: false },
    ] as const
    const traffic = new Traffic({ features })
    const usual = () => ({
      coupons: traffic.random.below(2),
      largest: traffic.random.below(50),
      level: 1,
    })
    while (traffic.scorer.phase !== 'ready') {
      for (let client = 0; client < 50; client++) {
        traffic.now += 1200
        traffic.observe({ key: `p:${traffic.random.below(300)}`, values: usual() })
      }
    }
    const top = (key: string, values: Readonly<Record<string, number>>) =>
      traffic.observe({ key, values: { ...usual(), ...values } })?.features[0]
    t.match(top('p:a', { coupons: 5000, level: NaN }), { feature: 'coupons' })
    t.match(top('p:b', { largest: 9e8 }), { feature: 'largest' })
    t.match(top('p:c', { level: 900 }), { feature: 'level', value: 900 })
  },
)

await t.test('a forgotten key starts anew', async (t) => {
  const traffic = new Traffic().learn()
  for (let i = 0; i < 20; i++) traffic.observe({ key: 'p:gone', ...brute })
  const { size } = traffic.scorer
  traffic.scorer.forget('p:gone')
  traffic.scorer.forget('p:never')
  t.equal(traffic.scorer.size, size - 1)
  t.equal(traffic.scorer.scoreOf('p:gone', traffic.now), undefined)
})

await t.test('an hour is unusual only for a key that is known', async (t) => {
  const traffic = new Traffic().learn()
  const usual = { route: '/page/1', bytesOut: 3000, durationMs: 20 }
  const scoreOf = (key: string) => {
    for (let i = 0; i < 4; i++) traffic.observe({ key, ...usual })
    return traffic.scorer.scoreOf(key, traffic.now)!.score
  }
  for (let i = 0; i < 120; i++) {
    traffic.now += 30_000
    traffic.observe({ key: 'p:office', ...usual })
  }
  const byDay = scoreOf('p:office')
  traffic.now = START + 13 * 3_600_000
  t.ok(scoreOf('p:new') < byDay + 0.05, 'an hour says nothing about a new key')
  // The hour is no longer unusual once it was counted, so the score is that of the first request.
  const before = traffic.observe({ key: 'p:office', ...usual })
  t.equal(before, undefined, 'an unusual hour alone is no anomaly')
})

await t.test('severity and action follow from the score and the counts', async (t) => {
  t.same(
    [0.6, 0.66, 0.73, 0.81].map((score) => severityOf(score, 0.6)),
    ['low', 'medium', 'high', 'critical'],
  )
  const counts = { failedAuthentications: 0, bytesOut: 0 }
  t.equal(recommend('high', counts), 'monitor')
  t.equal(recommend('critical', counts), 'investigate')
  t.equal(recommend('low', { ...counts, failedAuthentications: 5 }), 'monitor')
  t.equal(recommend('low', { ...counts, failedAuthentications: 6 }), 'block-address')
  t.equal(recommend('low', { ...counts, bytesOut: 1e9 + 1 }), 'limit')
})

await t.test(
  'the threshold follows the tail, and a burst of attacks does not move it far',
  async (t) => {
    const random = createRandom(4)
    const threshold = createScoreThreshold(0.001)
    t.equal(threshold.value, 0.65, 'before there are enough scores')
    // An exponential tail, as the scores of usual rows have.
    const usual = () => 0.42 - 0.025 * Math.log(1 - random.next())
    for (let i = 0; i < 20_000; i++) threshold.add(usual())
    const expected = 0.42 - 0.025 * Math.log(0.001)
    t.ok(Math.abs(threshold.value - expected) < 0.02, `${threshold.value}, expected ${expected}`)
    for (let i = 0; i < 20; i++) threshold.add(0.9)
    t.ok(threshold.value < expected + 0.03)
  },
)

await t.test('anomalous rows are refused until they are three tenths of all', async (t) => {
  const gate = createLearningGate()
  for (let i = 0; i < 600; i++) gate.accepts(false)
  t.equal(gate.accepts(true), false)
  for (let i = 0; i < 150; i++) gate.accepts(true)
  t.equal(gate.accepts(true), false)
  t.ok(gate.rate > 0.29)
  for (let i = 0; i < 10; i++) gate.accepts(true)
  t.equal(gate.accepts(true), true)
})

await t.test('a key has one vote in a window, however many rows it gives', async (t) => {
  const gate = createLearningGate()
  for (let i = 0; i < 430; i++) gate.accepts(false, `usual ${i}`)
  for (let i = 0; i < 82; i++) for (let row = 0; row < 8; row++) gate.accepts(true, `attacker ${i}`)
  t.equal(gate.rate, 82 / 512)
  t.equal(gate.accepts(true, 'attacker 0'), false)
  for (let i = 0; i < 80; i++) gate.accepts(true, `another ${i}`)
  t.equal(gate.accepts(true, 'another 0'), true, 'the votes of many are accepted')
})

await t.test(
  'a model in shadow does not learn what 10 or 15 % of the keys attack with',
  async (t) => {
    const theft = { route: '/export', bytesOut: 5_000_000, durationMs: 300, statusCode: 200 }
    const attack = (traffic: Traffic, key: string): boolean => {
      let found = false
      for (let i = 0; i < 60; i++) {
        const outcome = {
          key,
          ...theft,
          failedAuthentication: i % 3 === 0,
          userAgent: `agent ${i}`,
        }
        if (traffic.observe(outcome) !== undefined) found = true
      }
      return found
    }
    for (const share of [0, 0.1, 0.15]) {
      const traffic = new Traffic().learn()
      for (let minute = 0; minute < 30; minute++) {
        traffic.minute()
        for (let i = 0; i < (60 * share) / (1 - share); i++) attack(traffic, `a:${minute}.${i}`)
      }
      const probes = Array.from({ length: 20 }, (_, i) => attack(traffic, `a:probe ${i}`))
      const found = probes.filter(Boolean).length
      t.equal(found, 20, `${found} of 20 found after ${100 * share} % of attackers`)
    }
  },
)

await t.test('the order of routes is learnt, for at most 255 of them', async (t) => {
  const sequences = createSequences()
  const [cart, pay, admin] = ['/cart', '/pay', '/admin'].map((route) =>
    sequences.numberOf(route),
  ) as [number, number, number]
  t.equal(sequences.surpriseOf(0, cart), 0, 'the first route')
  t.equal(sequences.surpriseOf(cart, admin), 0, 'before there is enough to compare with')
  for (let i = 0; i < 70_000; i++) sequences.learn(cart, pay)
  t.ok(sequences.surpriseOf(cart, pay) < 0.01)
  t.ok(sequences.surpriseOf(cart, admin) > 10)
  for (let i = 0; i < 600; i++) sequences.numberOf(`/r${i}`)
  t.equal(sequences.numberOf('/one-more'), sequences.numberOf(undefined))
  t.equal(sequences.numberOf('/cart'), cart)
})

await t.test('the table of keys agrees with a map, whatever is opened and removed', async (t) => {
  const random = createRandom(8)
  const table = new KeyTable({ maxKeys: 500, recordWords: 5, random })
  const expected = new Map<string, number>()
  for (let i = 0; i < 20_000; i++) {
    const key = `k${random.below(400)}`
    if (random.next() < 0.3) {
      table.remove(key)
      expected.delete(key)
    } else {
      const place = table.open(key)
      if (place.isNew === expected.has(key)) t.fail(`${key} is ${place.isNew ? 'lost' : 'left'}`)
      place.words[place.at + 4] = i
      expected.set(key, i)
    }
  }
  t.equal(table.size, expected.size)
  for (const [key, value] of expected) {
    const place = table.find(key)
    if (place?.words[place.at + 4] !== value) t.fail(`${key} has another value`)
  }
  t.equal(table.find('never'), undefined)
})

await t.test('a flood of new keys does not drop the ones that are in use', async (t) => {
  const table = new KeyTable({ maxKeys: 5000, recordWords: 4, random: createRandom(2) })
  for (let i = 0; i < 2000; i++) {
    const { words, at } = table.open(`known${i}`)
    words[at + LAST_WINDOW] = 100
    words[at + LIFE] = 50
  }
  for (let i = 0; i < 100_000; i++) {
    const { words, at } = table.open(`flood${i}`)
    words[at + LAST_WINDOW] = 100
    words[at + LIFE] = 1
  }
  t.equal(table.size, 5000)
  const lost = Array.from({ length: 2000 }, (_, i) => table.find(`known${i}`)).filter(
    (place) => place === undefined,
  )
  t.ok(lost.length < 60, `${lost.length} of 2000 known keys are lost`)
})

await t.test('an app saves, loads and watches the model', async (t) => {
  const traffic = new Traffic().learn()
  const create = async (enabled: boolean) => {
    const app = Fastify()
    t.after(() => app.close())
    await app.register(anomalyGuard, { behaviour: { enabled } })
    await app.ready()
    return app.anomaly
  }
  const { behaviour } = await create(true)
  t.equal(behaviour?.save(), undefined, 'a new model is cold')
  behaviour?.load(traffic.scorer.save()!)
  t.same([behaviour?.phase, behaviour?.size], ['ready', 0])
  t.same(behaviour?.drift, { index: 0, feature: undefined, anomalyRate: 0 })
  t.equal((await create(false)).behaviour, null, 'where it is switched off')
})
