/** The cost of a score, of an attribution, of learning, and of a tracked key; two other forests beside it. */
import { goal, pairedBench } from '@parapet/testing'
import { IsolationForest as OtherForest } from 'isolation-forest'
// @ts-expect-error -- it has no types
// oxlint-disable-next-line import/default -- a CommonJS module
import untyped from 'ml-isolation-forest'
import { createBehaviourScorer } from '../src/behaviour/scorer.ts'
import { fitForest } from '../src/forest/forest.ts'
import { createRandom } from '../src/forest/random.ts'

/** What is used of `ml-isolation-forest`. */
interface MlForest {
  train(rows: readonly (readonly number[])[]): void
  predict(rows: readonly (readonly number[])[]): number[]
}
const { IsolationForest: MlIsolationForest } = untyped as unknown as {
  readonly IsolationForest: new (settings: { nEstimators: number }) => MlForest
}

const COLUMNS = 10
const ROWS = 4096
const random = createRandom(1)
const normal = () => random.next() + random.next() + random.next() - 1.5
const rows = Array.from({ length: ROWS }, () => Array.from({ length: COLUMNS }, normal))
const matrix = { values: Float32Array.from(rows.flat()), rows: ROWS, columns: COLUMNS }
const names = Array.from({ length: COLUMNS }, (_, i) => `f${i}`)
const objects = rows.map((row) => Object.fromEntries(row.map((value, i) => [names[i]!, value])))
const forest = fitForest(matrix, { seed: 1 })
const parts = new Float64Array(COLUMNS)
const ml = new MlIsolationForest({ nEstimators: 100 })
ml.train(rows)
const other = new OtherForest(100, 256)
other.fit(objects)

let turn = 0
const next = () => (turn = (turn + 1) % ROWS)
const doubles = rows.map((row) => Float64Array.from(row))
const scores = await pairedBench({
  time: 'cpu',
  cases: {
    score: () => forest.score(doubles[next()]!),
    'score and attribution': () => {
      const row = doubles[next()]!
      forest.attribute(row, parts)
      return forest.score(row)
    },
    'ml-isolation-forest 0.1.0': () => ml.predict([rows[next()]!]),
    'isolation-forest 0.0.9': () => other.predict([objects[next()]!]),
    'fit 100 trees': () => fitForest(matrix, { seed: next() }),
  },
})
console.log(scores.table)
goal('anomaly-score-us', scores.cases['score']!.min / 1000, 2.5)
goal('anomaly-attribution-us', scores.cases['score and attribution']!.min / 1000, 6)
goal('anomaly-fit-ms', scores.cases['fit 100 trees']!.min / 1e6, 25)
for (const [name, label] of [
  ['ml-isolation-forest 0.1.0', 'ml-isolation-forest'],
  ['isolation-forest 0.0.9', 'isolation-forest'],
] as const) {
  goal(`anomaly-faster-than-${label}`, scores.ratio(name, 'score').median, 8, 'at-least')
}

// One request of a service in use: counted, scored, and now and then learnt.
const scorer = createBehaviourScorer({ seed: 1, shadowRows: 512 })
let now = Date.UTC(2026, 0, 1)
const observe = (keys: number) => {
  now += 13
  return scorer.observe({
    key: `p:${random.below(keys)}`,
    atMs: now,
    address: `192.0.2.${random.below(200)}`,
    route: `/r${random.below(12)}`,
    statusCode: random.next() < 0.03 ? 404 : 200,
    bytesOut: random.below(20_000),
    durationMs: random.below(80),
    userAgent: 'bench',
  })
}
for (let i = 0; i < 50_000; i++) {
  observe(2000)
  while (scorer.work());
}
const behaviour = await pairedBench({
  time: 'cpu',
  cases: { 'observe one request': () => observe(2000) },
})
console.log(behaviour.table)
goal('anomaly-observe-us', behaviour.cases['observe one request']!.min / 1000, 8)

const slices: number[] = []
for (let i = 0; i < 150_000; i++) {
  observe(2000)
  for (let more = true; more;) {
    const start = process.cpuUsage()
    more = scorer.work()
    const { user, system } = process.cpuUsage(start)
    if (more) slices.push((user + system) / 1000)
  }
}
slices.sort((a, b) => a - b)
const p99 = slices[Math.floor(slices.length * 0.99)]!
console.log(
  `${slices.length} slices of learning, median ${slices[slices.length >> 1]!.toFixed(3)} ms`,
)
goal('anomaly-learning-slice-p99-ms', p99, 1)

const before = process.memoryUsage()
const large = createBehaviourScorer({ seed: 2, maxKeys: 1_000_000 })
for (let i = 0; i < 1_000_000; i++) {
  large.observe({ key: `a:${i}`, atMs: now, statusCode: 200, contained: true })
}
const after = process.memoryUsage()
const megabytes = (after.arrayBuffers - before.arrayBuffers) / 1e6
console.log(`${large.size} keys in ${megabytes.toFixed(1)} MB of typed arrays`)
goal('anomaly-million-keys-mb', megabytes, 100)
