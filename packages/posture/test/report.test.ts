/** The formats of a report, and the baseline. */
import { renderJunit, renderSarif, renderTable, checklist, type Report } from '@parapet/posture'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  applyBaseline,
  readBaseline,
  updateBaseline,
  writeBaseline,
} from '../src/report/baseline.ts'
import { check, create, lineOf, NOW } from './helpers.ts'

async function createReport(t: Test, baseline?: string): Promise<Report> {
  const app = create(t, { trustProxy: true, bodyLimit: 64 * 1024 * 1024 })
  app.get('/hello', async (request, reply) => {
    const { name } = request.query as { name: string }
    return reply.type('text/html').send(`<b>${name}</b>`)
  })
  return check(app, baseline === undefined ? {} : { baseline })
}

await t.test(
  'the table shows failures with evidence and fix, manual lines, and a bar',
  async (t) => {
    const report = await createReport(t)
    const text = renderTable(report)
    t.match(
      text,
      /✗ FAIL {3}RAT-03 A client cannot choose its own address \(high\)\n +trustProxy: trusts everybody/,
    )
    t.match(text, /Fix: Set trustProxy to the addresses/)
    t.match(text, /\? manual BCK-02/)
    t.notMatch(text, /✓ pass/)
    t.match(text, /[█░]{30} \d+ % of 101 lines/)
    t.match(renderTable(report, { all: true }), /✓ pass {3}VAL-07/)
    t.notOk(text.includes('\u001B'))
    t.ok(renderTable(report, { color: true }).includes('\u001B[31m✗ FAIL'))
    t.ok(
      renderTable(report, { width: 60 })
        .split('\n')
        .every((line) => line.length <= 110),
    )
  },
)

await t.test('what an app sends cannot control the terminal', async (t) => {
  const report = await createReport(t)
  const lines = report.lines.map((line) => ({
    ...line,
    findings: line.findings.map((each) => ({ ...each, evidence: 'a\u001B[2Jb\u202Ec' })),
  }))
  const text = renderTable({ ...report, lines })
  t.notOk(['\u001B', '\u202E'].some((sign) => text.includes(sign)))
})

await t.test('SARIF names each rule, level, place and fingerprint', async (t) => {
  const report = await createReport(t)
  const log = JSON.parse(renderSarif(report)) as {
    version: string
    runs: { tool: { driver: { rules: { id: string }[] } }; results: Record<string, unknown>[] }[]
  }
  t.equal(log.version, '2.1.0')
  const { tool, results } = log.runs[0]!
  t.same(
    tool.driver.rules.map(({ id }) => id),
    checklist.map(({ id }) => id),
  )
  const found = results.find(({ ruleId }) => ruleId === 'RAT-03')
  t.match(found, {
    kind: 'fail',
    level: 'error',
    baselineState: 'new',
    partialFingerprints: { 'posture/v1': /^[0-9a-f]{16}$/ },
    message: { text: /^trustProxy: / },
  })
  for (const { ruleId, ruleIndex } of results)
    t.equal(tool.driver.rules[ruleIndex as number]?.id, ruleId)
  t.match(
    results.find(({ ruleId }) => ruleId === 'BCK-01'),
    { kind: 'review', level: 'none' },
  )
})

await t.test('SARIF has no location without a file, which GitHub refuses', async (t) => {
  const report = await createReport(t)
  const placesOf = (target: string) => {
    const log = JSON.parse(renderSarif({ ...report, target })) as {
      runs: { results: { ruleId: string; locations?: Record<string, unknown>[] }[] }[]
    }
    return log.runs[0]!.results.flatMap(({ locations }) => locations ?? [])
  }
  for (const target of ['the app', 'https://app.example.com']) t.same(placesOf(target), [])
  const places = placesOf('src/app.ts')
  t.ok(places.length > 0 && places.every((place) => 'physicalLocation' in place))
  t.match(
    places.find(({ logicalLocations }) => /trustProxy/.test(JSON.stringify(logicalLocations))),
    {
      physicalLocation: { artifactLocation: { uri: 'src/app.ts' }, region: { startLine: 1 } },
    },
  )
})

await t.test('SARIF gives files and lines as places', async (t) => {
  const report = await createReport(t)
  const lines = report.lines.map((line) =>
    line.id === 'RAT-03'
      ? {
          ...line,
          findings: [
            { ...line.findings[0]!, where: 'src/a b.ts:12' },
            { ...line.findings[0]!, where: 'src/a.ts:7' },
          ],
        }
      : line,
  )
  const text = renderSarif({ ...report, lines })
  t.match(text, /"uri": "src\/a.ts"/)
  t.match(text, /"startLine": 7/)
})

await t.test('JUnit has one case for each line, and escapes what an app sends', async (t) => {
  const report = await createReport(t)
  const lines = report.lines.map((line) =>
    line.id === 'RAT-03' ? { ...line, evidence: '<a href="x">&\u0000\uD800' } : line,
  )
  const xml = renderJunit({ ...report, lines })
  t.equal(xml.match(/<testcase /g)?.length, checklist.length)
  t.equal(xml.match(/<failure /g)?.length, report.counts.fail)
  t.match(xml, /message="&lt;a href=&quot;x&quot;&gt;&amp;\uFFFD"/)
  t.match(
    xml,
    new RegExp(
      `<testsuites name="posture" tests="101" failures="${report.counts.fail}" errors="0"`,
    ),
  )
  t.notOk(xml.includes('\u0000'))
})

await t.test('known findings do not fail, and new ones do', async (t) => {
  const path = join(t.testdir(), 'posture.json')
  const first = await createReport(t, path)
  t.equal(first.ok, false, 'without a file, everything is new')
  await writeBaseline(path, updateBaseline(first.lines, await readBaseline(path)))
  const second = await createReport(t, path)
  t.equal(second.ok, true)
  t.equal(second.counts.fail, 0)
  t.equal(second.counts.known, first.counts.fail)
  t.match(renderTable(second), /! known {2}RAT-03/)
  t.match(renderJunit(second), / failures="0"/)
  t.match(renderSarif(second), /"baselineState": "unchanged"/)

  const app = create(t, { trustProxy: true, bodyLimit: 64 * 1024 * 1024 })
  app.get('/hello', async () => ({ ok: true }))
  app.post('/new', async (request) => request.body)
  const third = await check(app, { baseline: path })
  t.equal(third.ok, false)
  t.match(lineOf(third, 'VAL-01').findings, [{ where: 'POST /new', isKnown: false }])
  t.match(lineOf(third, 'RAT-03').findings, [{ isKnown: true }])
})

await t.test('an update keeps reasons and confirmations, and drops what is fixed', async (t) => {
  const report = await createReport(t)
  const [finding] = lineOf(report, 'RAT-03').findings
  const known = {
    [finding!.fingerprint]: { line: 'RAT-03', where: 'trustProxy', reason: 'behind one proxy' },
    '0123456789abcdef': { line: 'VAL-01', where: 'gone' },
  }
  const confirmed = { 'BCK-01': { by: 'ops', note: 'daily', until: '2027-01-01' } }
  const next = updateBaseline(report.lines, { version: 1, known, confirmed })
  t.equal(next.known[finding!.fingerprint]?.reason, 'behind one proxy')
  t.notOk('0123456789abcdef' in next.known)
  t.same(next.confirmed, confirmed)
})

await t.test(
  'a confirmation answers a manual line until its day, and never hides a failure',
  async (t) => {
    const { lines } = await createReport(t)
    const confirmation = { by: 'ops', note: 'restored', until: '2026-01-15' }
    const baseline = {
      version: 1,
      known: {},
      confirmed: { 'BCK-02': confirmation, 'RAT-03': confirmation },
    } as const
    const at = (now: number, id: string) =>
      applyBaseline(lines, baseline, now).find((each) => each.id === id)
    t.match(at(NOW, 'BCK-02'), {
      status: 'pass',
      evidence: 'confirmed by ops until 2026-01-15: restored',
    })
    t.match(at(NOW + 86_400_000, 'BCK-02'), {
      status: 'manual',
      evidence: /^the confirmation ended on 2026-01-15/,
    })
    t.equal(at(NOW, 'RAT-03')?.status, 'fail')
  },
)

await t.test('an invalid baseline stops the check', async (t) => {
  const path = join(t.testdir(), 'posture.json')
  const wrong: readonly [string, RegExp][] = [
    ['{', /JSON/],
    ['[]', /"version" must be 1/],
    ['{"version":1,"known":[]}', /must be objects/],
    ['{"version":1,"known":{"x":{}}}', /"known.x" is no finding/],
    ['{"version":1,"confirmed":{"XXX-01":{}}}', /names no line/],
    ['{"version":1,"confirmed":{"BCK-01":{"by":"a","note":"b","until":"soon"}}}', /must be a day/],
    ['{"version":1,"confirmed":{"BCK-01":{"until":"2027-01-01"}}}', /needs "by" and "note"/],
  ]
  for (const [text, message] of wrong) {
    writeFileSync(path, text)
    await t.rejects(readBaseline(path), { code: 'PARAPET_POSTURE_INVALID_BASELINE', message }, text)
  }
  const folder = t.testdir()
  await t.rejects(readBaseline(folder), { code: 'PARAPET_POSTURE_INVALID_BASELINE' })
})

await t.test('a baseline is replaced as a whole', async (t) => {
  const path = join(t.testdir(), 'posture.json')
  await writeBaseline(path, { version: 1, known: {}, confirmed: {} })
  t.equal(readFileSync(path, 'utf8'), '{\n  "version": 1,\n  "known": {},\n  "confirmed": {}\n}\n')
  t.notOk(existsSync(`${path}.${process.pid}.tmp`))
})

await t.test('fingerprints stay when other findings come and go', async (t) => {
  const print = async (routes: readonly string[]) => {
    const app = create(t)
    for (const url of routes) app.post(url, async (request) => request.body)
    const found = lineOf(await check(app), 'VAL-01').findings
    return found.find(({ where }) => where === 'POST /b')?.fingerprint
  }
  t.equal(await print(['/b']), await print(['/a', '/b', '/c']))
})
