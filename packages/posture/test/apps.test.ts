/**
 * Three apps that were not written for this check: a bare CRUD service in the style of fastify-cli, a service
 * with helmet, jwt and rate-limit from a factory, and a script with 25 planted faults.
 */
import { checkPosture, type Report } from '@parapet/posture'
import { createManualClock } from '@parapet/kit'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { loadEntry } from '../src/http/load-entry.ts'

/** Before the end of Node.js 20, so that the result does not depend on the version that runs the test. */
const clock = createManualClock(Date.UTC(2026, 0, 15))

async function check(t: Test, name: string): Promise<Report> {
  const path = fileURLToPath(new URL(`apps/${name}`, import.meta.url))
  const app = await loadEntry(path, (url) => import(url))
  t.after(() => app.close())
  const project = fileURLToPath(new URL('.', new URL(`apps/${name}`, import.meta.url)))
  return checkPosture(app, { project, clock, environment: {} })
}

/** What fails, as `AUT-01 POST /notes`. */
function failures({ lines }: Report): string[] {
  return lines.flatMap(({ id, status, findings }) =>
    status === 'fail' ? findings.map(({ where }) => `${id} ${where}`) : [],
  )
}

/** The ids of the lines that fail. */
function failingLines({ lines }: Report): string[] {
  return lines.filter(({ status }) => status === 'fail').map(({ id }) => id)
}

/** The planted faults by their number in the source: the line, and a part of the place. */
const PLANTED: readonly (readonly [number: number, line: string, where: RegExp])[] = [
  [1, 'RAT-03', /^trustProxy$/],
  [2, 'VAL-05', /^bodyLimit$/],
  [3, 'COR-02', /^GET \/team$/],
  [4, 'AUT-04', /^app\.jwt$/],
  [5, 'TLS-05', /^server\.js:/],
  [6, 'ERR-01', /^server\.js:/],
  [7, 'AUT-06', /^routes\/accounts\.js:/],
  [8, 'RAT-02', /^POST \/login$/],
  [9, 'LOG-02', /^routes\/accounts\.js:/],
  [10, 'AUT-05', /^routes\/accounts\.js:/],
  [11, 'COO-02', /^routes\/accounts\.js:/],
  [12, 'ENC-04', /^routes\/accounts\.js:/],
  [13, 'SEC-02', /^GET \/team$/],
  [14, 'AUT-01', /^DELETE \/users\/:id$/],
  [15, 'CSR-02', /^GET \/users\/:id\/delete$/],
  [16, 'AZN-04', /^PATCH \/me$/],
  [17, 'AZN-02', /^GET \/admin\/stats$/],
  [18, 'INJ-01', /^routes\/shop\.js:/],
  [19, 'AZN-03', /^GET \/shop\/orders\/:id$/],
  [20, 'VAL-01', /^POST \/shop\/orders$/],
  [21, 'XSS-01', /^GET \/shop\/hello$/],
  [22, 'INJ-07', /^routes\/shop\.js:/],
  [23, 'INJ-02', /^routes\/tools\.js:/],
  [24, 'INJ-04', /^routes\/tools\.js:/],
  [25, 'INJ-06', /^routes\/tools\.js:/],
]

await t.test('at least 24 of 25 planted faults are found, each by its own line', async (t) => {
  const report = await check(t, 'faulty/server.js')
  t.equal(report.ok, false)
  const missed = PLANTED.filter(([, line, where]) => {
    const found = report.lines.find(({ id }) => id === line)
    return found?.status !== 'fail' || !found.findings.some((each) => where.test(each.where))
  })
  t.ok(
    missed.length <= 1,
    `missed: ${missed.map(([number, line]) => `${number} (${line})`).join(', ')}`,
  )
  t.same(missed, [], 'none is missed today')
  const failed = report.lines.filter(({ status }) => status === 'fail')
  t.ok(
    failed.every(
      ({ fix, findings }) => fix !== '' && findings.every(({ evidence }) => evidence !== ''),
    ),
  )
})

/** What is true of the bare service: it has no login, no headers, no limits and no audit. */
const TRUE_OF_CRUD = [
  'HDR-01',
  'HDR-03',
  'HDR-04',
  'HDR-05',
  'TLS-01',
  'AUT-01',
  'AUT-02',
  'RAT-01',
  'VAL-06',
  'ERR-02',
  'AUD-01',
]

await t.test('a bare CRUD service gets no false alarm', async (t) => {
  const report = await check(t, 'crud/app.js')
  t.same(failingLines(report), TRUE_OF_CRUD)
  const open = failures(report).filter((each) => each.startsWith('AUT-01'))
  t.same(open, ['AUT-01 POST /notes', 'AUT-01 PUT /notes/:id', 'AUT-01 DELETE /notes/:id'])
})

/** Fastify runs no hook for a malformed address, and nothing is audited. */
const TRUE_OF_GUARDED = ['HDR-09', 'AUD-01']

await t.test('a service with helmet, jwt and rate-limit gets no false alarm', async (t) => {
  const report = await check(t, 'guarded/app.js')
  t.same(failingLines(report), TRUE_OF_GUARDED)
  const guards = report.lines.find(({ id }) => id === 'AUT-01')
  t.match(guards, {
    status: 'pass',
    evidence: /2 state-changing routes? checked the client; public: POST \/register, POST \/login/,
  })
})
