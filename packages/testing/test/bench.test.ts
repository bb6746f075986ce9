import { spawnSync } from 'node:child_process'
import { gzipSync } from 'node:zlib'
import { goal, pairedBench, plainNode, readVectors, readVectorText, runs } from '@parapet/testing'
import t from 'tap'
import { record } from './record.ts'

await t.test('cases are measured in turns and compared round by round', async (t) => {
  const order: string[] = []
  let nanoseconds = 0
  const work = (name: string, cost: number) => () => {
    if (order.at(-1) !== name) order.push(name)
    nanoseconds += cost
  }
  const result = await pairedBench({
    rounds: 4,
    minMs: 2,
    time: () => nanoseconds,
    cases: { little: work('little', 1000), much: work('much', 10_000) },
  })
  t.same(result.cases, {
    little: { median: 1000, min: 1000, max: 1000 },
    much: { median: 10_000, min: 10_000, max: 10_000 },
  })
  t.same(result.ratio('much', 'little'), { median: 10, min: 10, max: 10 })
  t.same(result.added('much', 'much', 'little'), { median: 1, min: 1, max: 1 })
  t.same(result.added('little', 'much', 'little'), { median: 0, min: 0, max: 0 })
  t.throws(() => result.ratio('much', 'none'), /no case is named "none"/)
  t.match(
    result.table,
    /^node v\d+.*4 rounds of 2 ms, given time\ncase +ns\/op.*\nlittle .*\nmuch /,
  )
  // Two warm-ups, then the rounds with another one first each time; equal neighbours fold.
  t.same(order.slice(-5), ['little', 'much', 'little', 'much', 'little'])
})

await t.test(
  'a promise is awaited, and the time of the processor leaves waiting out',
  async (t) => {
    let open = 0
    let most = 0
    const result = await pairedBench({
      rounds: 1,
      minMs: 1,
      time: 'cpu',
      cases: {
        async wait() {
          most = Math.max(most, ++open)
          await new Promise((resolve) => setImmediate(resolve))
          open--
        },
      },
    })
    t.equal(most, 1, 'one at a time')
    t.match(result.table, /cpu time/)
    await t.rejects(pairedBench({ cases: {} }), /needs a case/)
  },
)

await t.test('a goal is one line of five words', async (t) => {
  const output = t.capture(process.stdout, 'write', () => true)
  const met = [goal('a', 1.23456, 1.3), goal('b', 1, 2, 'at-least'), goal('c', Number.NaN, 1)]
  output.restore()
  const lines = output().map(({ args }) => args[0])
  t.same(met, [true, false, false])
  t.same(lines, ['goal a 1.235 1.3 ok\n', 'goal b 1 2 short\n', 'goal c NaN 1 short\n'])
  t.throws(() => goal('two words', 1, 1), /no blanks/)
  t.throws(() => goal('', 1, 1), /no blanks/)
})

await t.test('an unknown package is refused, and the known ones are named', async (t) => {
  const { status, stderr } = spawnSync(...plainNode(['scripts/bench.ts', 'no-such-package']), {
    cwd: new URL('../../../', import.meta.url),
    encoding: 'utf8',
  })
  t.equal(status, 1)
  t.match(stderr, /no benchmarks for no-such-package; there are some for /)
})

await t.test('vectors are read as text, JSON and JSON lines, packed or not', async (t) => {
  const folder = t.testdir({
    'a.json': '{"a":1}',
    'b.jsonl.gz': gzipSync('{"b":1}\n{"b":2}\n'),
    'c.csv.gz': gzipSync('x,y\n'),
  })
  const before = process.env['PARAPET_VECTORS']
  t.after(() => {
    if (before === undefined) delete process.env['PARAPET_VECTORS']
    else process.env['PARAPET_VECTORS'] = before
  })
  process.env['PARAPET_VECTORS'] = folder
  t.same(readVectors(t, 'a.json'), { a: 1 })
  t.same(readVectors(t, 'b.jsonl.gz'), [{ b: 1 }, { b: 2 }])
  t.equal(readVectorText(t, 'c.csv.gz'), 'x,y\n')
  t.throws(
    () => readVectorText(t, 'd.json'),
    { code: 'ENOENT' },
    'a missing file is an error, not a skip',
  )

  process.env['PARAPET_VECTORS'] = `${folder}/none`
  const { inner, log } = record()
  t.equal(readVectors(inner, 'a.json'), null)
  t.same(log, ['skip no vectors: PARAPET_VECTORS names no folder'])
})

await t.test('a long test runs a sample, and its full length in a soak', (t) => {
  const before = process.env['PARAPET_SOAK']
  t.after(() => {
    if (before === undefined) delete process.env['PARAPET_SOAK']
    else process.env['PARAPET_SOAK'] = before
  })
  delete process.env['PARAPET_SOAK']
  t.equal(runs(10, 1000), 10)
  process.env['PARAPET_SOAK'] = '1'
  t.equal(runs(10, 1000), 1000)
  t.end()
})
