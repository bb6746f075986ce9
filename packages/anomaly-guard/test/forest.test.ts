/** The Isolation Forest: parity with scikit-learn, the stream, attribution and the file format. */
import { readVectors, readVectorText, runs } from '@parapet/testing'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

import t from 'tap'
import { fitForest } from '../src/forest/forest.ts'
import { TreeGrowth } from '../src/forest/grow-tree.ts'
import { readForest, writeForest } from '../src/forest/model-file.ts'
import { meanPathLength } from '../src/forest/path-length.ts'
import { createRandom } from '../src/forest/random.ts'
import { readScikitLearnForest, type ScikitLearnForest } from '../src/forest/scikit-learn.ts'
import { StreamingForest } from '../src/forest/stream.ts'
import { createTreeSet } from '../src/forest/tree-set.ts'
import type { Matrix } from '../src/forest/types.ts'
import { averagePrecision, mean, rocAuc, standardDeviation } from './ranking.ts'

interface Reference {
  readonly rows: readonly (readonly number[])[]
  readonly cases: readonly {
    readonly forest: ScikitLearnForest
    readonly scores: readonly number[]
  }[]
}

const reference = JSON.parse(
  readFileSync(new URL('vectors/scikit-learn-forest.json', import.meta.url), 'utf8'),
) as Reference
const INVALID = 'PARAPET_ANOMALY_GUARD_INVALID_MODEL'

interface Published {
  readonly results: Readonly<
    Record<
      string,
      {
        readonly scikit_learn_1_2_1: {
          readonly roc_mean: number
          readonly roc_sd: number
          readonly ap_mean: number
          readonly ap_sd: number
        }
      }
    >
  >
}

interface Labelled {
  readonly matrix: Matrix
  readonly labels: readonly boolean[]
}

function readSet(text: string): Labelled {
  const lines = text.trim().split('\n')
  const rows = lines.slice(1).map((line) => line.split(',').map(Number))
  const columns = rows[0]!.length - 1
  const values = Float32Array.from(rows.flatMap((row) => row.slice(0, columns)))
  return {
    matrix: { values, rows: rows.length, columns },
    labels: rows.map((row) => row[columns] === 1),
  }
}

/** A cloud of points, and a few far from it. */
function cloud(rows: number, columns: number, seed = 1): Matrix {
  const random = createRandom(seed)
  const normal = () => random.next() + random.next() + random.next() - 1.5
  return { values: Float32Array.from({ length: rows * columns }, normal), rows, columns }
}

const rowOf = ({ values, columns }: Matrix, row: number) =>
  values.subarray(row * columns, (row + 1) * columns)

/** Finishes all outstanding work, and returns in how many slices. */
function finish(stream: StreamingForest): number {
  let slices = 0
  while (stream.hasWork) {
    stream.work()
    slices++
  }
  return slices
}

await t.test('c(n) is the one of the paper', async (t) => {
  t.same([0, 1, 2].map(meanPathLength), [0, 0, 1])
  t.ok(Math.abs(meanPathLength(256) - 10.244_770_920_119_917) < 1e-12)
})

await t.test('ranks anomalies as scikit-learn does, on eight published sets', async (t) => {
  const published = readVectors<Published>(t, 'anomaly/reference-results.json')
  if (published === null) return
  const seeds = Array.from({ length: runs(4, 10) }, (_, seed) => seed)
  const gaps = { roc: [] as number[], ap: [] as number[] }
  for (const [name, { scikit_learn_1_2_1: there }] of Object.entries(published.results)) {
    const { matrix, labels } = readSet(readVectorText(t, `anomaly/${name}.csv.gz`)!)
    const measured = seeds.map((seed) => {
      const forest = fitForest(matrix, { seed, trees: 300 })
      const scores = Float64Array.from({ length: matrix.rows }, (_, row) =>
        forest.score(rowOf(matrix, row)),
      )
      return { roc: rocAuc(scores, labels), ap: averagePrecision(scores, labels) }
    })
    const rocs = measured.map(({ roc }) => roc)
    const pooled = Math.sqrt((standardDeviation(rocs) ** 2 + there.roc_sd ** 2) / 2)
    const gap = mean(rocs) - there.roc_mean
    t.ok(
      Math.abs(gap) <= 2 * pooled,
      `${name}: ROC ${mean(rocs).toFixed(4)}, there ${there.roc_mean}`,
    )
    gaps.roc.push(gap)
    gaps.ap.push(mean(measured.map(({ ap }) => ap)) - there.ap_mean)
  }
  // The standard error of the mean over the sets is about 0.002 for ROC and 0.005 for AP.
  t.ok(mean(gaps.roc) > -0.001, `the mean ROC differs by ${mean(gaps.roc).toFixed(4)}`)
  t.ok(mean(gaps.ap) > -0.003, `the mean AP differs by ${mean(gaps.ap).toFixed(4)}`)
})

await t.test('a forest of scikit-learn scores as it does there, within 1e-9', async (t) => {
  for (const { forest: source, scores } of reference.cases) {
    const forest = readScikitLearnForest(source)
    const worst = reference.rows.map((row, i) => Math.abs(forest.score(row) + scores[i]!))
    t.ok(Math.max(...worst) < 1e-9, `the worst difference is ${Math.max(...worst)}`)
    t.equal(forest.trees, source.trees.length)
  }
})

await t.test('a malformed forest of scikit-learn is refused', async (t) => {
  const [{ forest }] = reference.cases as [Reference['cases'][number]]
  const [tree] = forest.trees as [ScikitLearnForest['trees'][number]]
  const chain = {
    children_left: Array.from({ length: 37 }, (_, i) => (i % 2 === 0 && i < 36 ? i + 1 : -1)),
    children_right: Array.from({ length: 37 }, (_, i) => (i % 2 === 0 && i < 36 ? i + 2 : -1)),
    feature: Array.from({ length: 37 }, () => 0),
    threshold: Array.from({ length: 37 }, () => 0),
    n_node_samples: Array.from({ length: 37 }, () => 2),
  }
  for (const [fault, broken] of [
    ['no feature', { ...forest, n_features: 0 }],
    ['a fraction of rows', { ...forest, max_samples: 1.5 }],
    ['no tree', { ...forest, trees: [] }],
    ['trees that are no list', { ...forest, trees: 'x' as unknown as [] }],
    ['a short array', { ...forest, trees: [{ ...tree, feature: [] }] }],
    [
      'a node without rows',
      { ...forest, trees: [{ ...tree, n_node_samples: tree.feature.map(() => 0) }] },
    ],
    [
      'a threshold that is no number',
      { ...forest, trees: [{ ...tree, threshold: tree.feature.map(() => NaN) }] },
    ],
    ['a feature that does not exist', { ...forest, n_features: 1 }],
    ['a depth above 16', { ...forest, trees: [chain] }],
  ] as const) {
    t.throws(() => readScikitLearnForest(broken), { code: INVALID }, fault)
  }
})

await t.test('the same seed and rows give the same scores', async (t) => {
  const rows = cloud(500, 5)
  const hash = (seed: number, sampleSizes: number[]) => {
    const forest = fitForest(rows, { seed, sampleSizes })
    // To 9 digits: versions of Node differ in the last bit of a logarithm.
    const scores = Float64Array.from({ length: 500 }, (_, row) =>
      Math.round(forest.score(rowOf(rows, row)) * 1e9),
    )
    return createHash('sha256').update(scores).digest('hex').slice(0, 16)
  }
  t.equal(hash(1, [256]), hash(1, [256]))
  t.not(hash(1, [256]), hash(2, [256]))
  // Pinned, so that a platform or a version of Node that differs is found.
  t.same([hash(1, [256]), hash(2 ** 40, [64, 256, 1024])], ['6d5c3c44d10010cb', '96eaa332d02ea2c8'])
})

await t.test('attributions add up to the depth that was saved, and name the cause', async (t) => {
  const rows = cloud(1000, 6)
  const forest = fitForest(rows, { seed: 4, sampleSizes: [64, 256] })
  const parts = new Float64Array(6)
  const random = createRandom(9)
  const usual = Array.from({ length: 1000 }, (_, row) => rowOf(rows, row)).filter(
    (row) => forest.score(row) < 0.5,
  )
  let first = 0
  for (let i = 0; i < 200; i++) {
    const row = Float32Array.from(usual[i]!)
    const planted = random.below(6)
    row[planted] = random.next() < 0.5 ? -9 : 9
    forest.attribute(row, parts)
    const sum = parts.reduce((total, part) => total + part, 0)
    const difference = sum - (forest.expectedDepth - forest.depth(row))
    if (Math.abs(difference) > 1e-9) t.fail(`the sum differs by ${difference}`)
    if (parts.indexOf(Math.max(...parts)) === planted) first++
  }
  t.ok(first >= 198, `the planted feature is first in ${first} of 200`)
})

await t.test('degenerate rows have scores, too', async (t) => {
  const equal = { values: new Float32Array(30).fill(3), rows: 10, columns: 3 }
  t.equal(fitForest(equal).score([3, 3, 3]), 0.5, 'rows that are all equal')
  const single = fitForest({ values: new Float32Array(2), rows: 1, columns: 2 })
  t.equal(single.score([1, 1]), 1, 'one row')
  const forest = fitForest(cloud(300, 3))
  for (const row of [
    [NaN, NaN, NaN],
    [Infinity, -Infinity, 0],
    [1e300, -1e300, 0],
  ]) {
    const score = forest.score(row)
    t.ok(score > 0 && score < 1, `${row.join()} has ${score}`)
  }
})

await t.test('a saved forest has the same scores, and no row', async (t) => {
  const rows = cloud(700, 4)
  const forest = fitForest(rows, { seed: 8, sampleSizes: [64, 256] })
  const bytes = writeForest({ forest, notes: { names: ['a'] } })
  const read = readForest(bytes)
  t.same(read.notes, { names: ['a'] })
  const differs = Array.from({ length: 700 }, (_, row) => rowOf(rows, row)).filter(
    (row) => read.forest.score(row) !== forest.score(row),
  )
  t.same(differs, [])
  t.same(writeForest(read), bytes, 'and is saved as the same bytes')
  t.ok(bytes.length < 260_000, `${bytes.length} bytes`)
})

await t.test('the published vectors of the file format hold', async (t) => {
  const file = new URL('../../../docs/spec/vectors/anomaly-model.json', import.meta.url)
  const { valid, invalid } = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly valid: {
      readonly bytes: string
      readonly rows: readonly {
        readonly row: readonly (number | 'NaN')[]
        readonly score: number
      }[]
    }
    readonly invalid: readonly { readonly fault: string; readonly bytes: string }[]
  }
  const read = readForest(Buffer.from(valid.bytes, 'hex'))
  for (const { row, score } of valid.rows) t.equal(read.forest.score(row.map(Number)), score)
  t.equal(Buffer.from(writeForest(read)).toString('hex'), valid.bytes)
  for (const { fault, bytes } of invalid) {
    t.throws(() => readForest(Buffer.from(bytes, 'hex')), { code: INVALID }, fault)
  }
})

await t.test('a damaged file is refused', async (t) => {
  const bytes = writeForest({ forest: fitForest(cloud(64, 2), { trees: 3 }), notes: null })
  for (let i = 0; i < bytes.length; i += 7) {
    const damaged = Uint8Array.from(bytes)
    damaged[i]! ^= 1
    t.throws(() => readForest(damaged), { code: INVALID }, `byte ${i}`)
  }
  t.throws(() => readForest(new Uint8Array(0)), { code: INVALID }, 'nothing')
  t.throws(() => readForest(bytes.subarray(0, 60)), { code: INVALID }, 'an end that is missing')
  // With a right checksum, as an attacker or a wrong program would write it.
  const notes = Buffer.from(bytes.subarray(0, -32))
  notes.writeUInt32BE(2 ** 21, 10)
  const forged = Buffer.concat([notes, createHash('sha256').update(notes).digest()])
  t.throws(() => readForest(forged), { code: INVALID }, 'notes above the limit')
})

await t.test('trees of a stream grow in slices of bounded cost', async (t) => {
  const rows = cloud(4096, 11)
  const random = createRandom(1)
  const growth = new TreeGrowth(rows, { set: createTreeSet(1, 4096), tree: 0 }, random)
  let before = 0
  let slices = 0
  for (let done = false; !done; slices++) {
    done = growth.step(20_000)
    const cost = growth.visited - before
    before = growth.visited
    if (cost > 20_000 + 12 * 4096) t.fail(`a slice read ${cost} values`)
  }
  t.ok(slices > 4, `${slices} slices`)
})

await t.test(
  'a stream has a forest after 256 rows, and then replaces four trees in turn',
  async (t) => {
    const rows = cloud(3000, 4)
    const stream = new StreamingForest({ features: 4, seed: 5, bufferRows: 1024 })
    const learn = (from: number, to: number) => {
      for (let row = from; row < to; row++) stream.learn(rowOf(rows, row))
    }
    t.equal(stream.work(), false, 'there is nothing to do')
    learn(0, 255)
    t.same([stream.hasWork, stream.forest], [false, undefined])
    learn(255, 256)
    t.ok(stream.hasWork)
    t.equal(stream.forest, undefined, 'before the work is done')
    t.ok(finish(stream) >= 100)
    t.ok(stream.forest!.score([9, 9, 9, 9]) > 0.7)
    learn(256, 512)
    t.ok(finish(stream) >= 100, 'all trees, as the buffer has doubled')
    learn(512, 768)
    t.equal(finish(stream), 4)
    learn(768, 2300)
    t.same([stream.learnt, stream.buffer.rows], [2300, 1024])
    finish(stream)

    const again = new StreamingForest({ features: 4, seed: 5, bufferRows: 1024 })
    again.adopt(stream.forest!, stream.learnt)
    t.equal(again.forest!.score([1, 0, 0, 0]), stream.forest!.score([1, 0, 0, 0]))
    for (let row = 0; row < 600; row++) again.learn(rowOf(rows, row))
    t.ok(finish(again) > 0, 'a saved forest goes on learning')
  },
)

await t.test('a stream ranks nearly as well as a forest of all rows', async (t) => {
  for (const name of ['thyroid', 'mammography']) {
    const text = readVectorText(t, `anomaly/${name}.csv.gz`)
    if (text === null) return
    const { matrix, labels } = readSet(text)
    const stream = new StreamingForest({ features: matrix.columns, seed: 2 })
    const random = createRandom(3)
    const order = Array.from({ length: matrix.rows }, (_, row) => row)
      .map((row) => ({ row, at: random.next() }))
      .toSorted((a, b) => a.at - b.at)
      .map(({ row }) => row)
    const scored: { score: number; label: boolean }[] = []
    for (const row of order) {
      const values = rowOf(matrix, row)
      if (stream.forest !== undefined) {
        scored.push({ score: stream.forest.score(values), label: labels[row]! })
      }
      stream.learn(values)
      finish(stream)
    }
    const batch = fitForest(matrix, { seed: 2 })
    const all = Float64Array.from(order, (row) => batch.score(rowOf(matrix, row)))
    const roc = rocAuc(
      Float64Array.from(scored, ({ score }) => score),
      scored.map(({ label }) => label),
    )
    const there = rocAuc(
      all,
      order.map((row) => labels[row]!),
    )
    t.ok(
      roc > there - 0.02,
      `${name}: ROC ${roc.toFixed(4)} in the stream, ${there.toFixed(4)} at once`,
    )
  }
})
