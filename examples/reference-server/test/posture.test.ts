/** The pre-production checklist on this service: nothing fails, and every line for a person is named. */
import { createManualClock } from '@parapet/kit'
import { checkPosture } from '@parapet/posture'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createTestApp, openDatabase } from './support/test-app.ts'

const database = await openDatabase(t)
const { app } = await createTestApp(t, database)

await t.test('no line of the checklist fails', async (t) => {
  const report = await checkPosture(app, {
    project: fileURLToPath(new URL('../', import.meta.url)),
    environment: {},
    host: '127.0.0.1:3000',
    // Before the end of Node.js 20: whether the tests run on a maintained version is not the question here.
    clock: createManualClock(Date.UTC(2026, 0, 15)),
  })
  const failing = report.lines.filter(({ status }) => status === 'fail')
  t.same(
    failing.map(({ id, evidence }) => `${id} ${evidence}`),
    [],
  )
  t.equal(report.ok, true)
  const manual = report.lines.filter(({ status }) => status === 'manual')
  t.ok(manual.length > 0 && manual.every(({ evidence }) => evidence !== ''), 'lines for a person')
  t.comment(manual.map(({ id, title, evidence }) => `${id} ${title}: ${evidence}`).join('\n'))
  const routes = report.lines.find(({ id }) => id === 'AZN-06')
  t.match(routes, { status: 'pass', evidence: /routes × \d+ roles from rbac/ })
})
