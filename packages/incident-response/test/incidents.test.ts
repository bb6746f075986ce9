/** Incidents: findings become one, people change them, deadlines escalate, and everything is on record. */
import type { Incident } from '@parapet/incident-response'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import {
  createPgliteFleets,
  openMemoryFleet,
  openPostgresFleet,
  type Fleet,
  type OpenFleet,
} from './support/fleet.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const alice = { by: 'alice' }

async function contract(t: Test, open: OpenFleet): Promise<void> {
  const check = async (title: string, body: (t: Test, fleet: Fleet) => Promise<void>) => {
    await t.test(title, async (t) => {
      const fleet = await open(t)
      if (fleet !== null) await body(t, fleet)
    })
  }
  await check('1 000 equal findings are one incident and at most three messages', oneIncident)
  await check('a person walks an incident through its phases, and everything is recorded', phases)
  await check('what the state machine does not allow is refused and changes nothing', refusals)
  await check('an incident that nobody acknowledges escalates in time, level by level', escalation)
  await check('closed incidents make way for new ones, and can be reopened or not', reopening)
  await check('two open incidents are merged, and later findings go to the one that stays', merging)
  await check(
    'a playbook runs from the trigger to its end, with people, conditions and undo',
    playbookRuns,
  )
  await check('responses block only who deserves it, once each', responses)
  await check('old incidents are deleted, open ones never', pruning)
}

const told = (): {
  sent: string[]
  notifiers: Record<string, { send: (m: { title: string }) => Promise<void> }>
} => {
  const sent: string[] = []
  const to = (name: string) => ({
    send: async ({ title }: { title: string }) => void sent.push(`${name}: ${title}`),
  })
  return { sent, notifiers: { team: to('team'), boss: to('boss') } }
}

async function oneIncident(t: Test, fleet: Fleet) {
  const { sent, notifiers } = told()
  const app = await fleet.open({ builtIn: [], notifiers, escalation: { medium: [['team']] } })
  const events: string[] = []
  app.securityEvents.on(
    'incident_response.opened',
    ({ details }) => void events.push(details.incidentId),
  )
  const finding = { type: 'brute_force', address: '192.0.2.1', principalId: 'u-1' }
  const all = await Promise.all(Array.from({ length: 1000 }, () => app.incidents.report(finding)))
  t.equal(new Set(all.map(({ id }) => id)).size, 1)
  await fleet.until(() => sent.length > 0)
  await app.incidents.settle()
  const [incident, ...others] = await app.incidents.list()
  t.same(others, [])
  t.match(incident, {
    findings: 1000,
    addresses: [{ id: '192.0.2.1', count: 1000 }],
    principals: [{ id: 'u-1', count: 1000 }],
    phase: 'detection',
  })
  t.same(events, [incident!.id])
  t.ok(sent.length <= 3, sent.join())
  t.ok((await app.incidents.timeline(incident!.id)).length < 20)
}

async function phases(t: Test, fleet: Fleet) {
  const app = await fleet.open({ builtIn: [] })
  const { incidents } = app
  const { id, openedAt } = await incidents.report({
    type: 'data_breach',
    severity: 'critical',
    at: fleet.clock.now() - 5000,
  })
  await fleet.advance(MINUTE)
  t.match(await incidents.acknowledge(id, alice), {
    acknowledgedBy: 'alice',
    acknowledgedAt: openedAt + MINUTE,
  })
  await incidents.assign(id, 'bob', alice)
  await incidents.comment(id, 'looks bad', { by: 'bob' })
  await incidents.link(id, { kind: 'audit', id: 'rec-1' }, alice)
  for (const to of ['containment', 'eradication', 'recovery', 'lessons_learned'] as const) {
    await fleet.advance(MINUTE)
    t.equal((await incidents.transition(id, to, { ...alice, note: 'go' })).phase, to)
  }
  await fleet.advance(MINUTE)
  const closed = await incidents.close(id, 'resolved', alice)
  t.match(closed, {
    phase: 'closed',
    resolution: 'resolved',
    assignee: 'bob',
    links: [{ kind: 'audit', id: 'rec-1' }],
  })
  t.match(
    (await incidents.timeline(id)).map(({ kind, by }) => `${kind} ${by}`),
    ['opened null', 'acknowledged alice', 'assigned alice', 'commented bob', 'linked alice']
      .concat(Array.from({ length: 4 }, () => 'transitioned alice'))
      .concat(['closed alice']),
  )
  const report = await incidents.postMortem(id)
  t.same(report.durations, {
    detectMs: 5000,
    acknowledgeMs: MINUTE,
    containMs: 3 * MINUTE,
    recoverMs: 5 * MINUTE,
    closeMs: 6 * MINUTE,
  })
  const metrics = await incidents.metrics()
  t.match(metrics, {
    count: 1,
    open: 0,
    bySeverity: { critical: 1 },
    acknowledgeMs: { median: MINUTE, count: 1 },
  })
}

async function refusals(t: Test, fleet: Fleet) {
  const { incidents } = await fleet.open({ builtIn: [] })
  const { id } = await incidents.report({ type: 'x' })
  const conflict = { code: 'PARAPET_INCIDENT_RESPONSE_CONFLICT', statusCode: 409 }
  const before = await incidents.find(id)
  await t.rejects(incidents.transition(id, 'recovery', alice), conflict)
  await t.rejects(incidents.close(id, 'resolved', alice), conflict)
  await t.rejects(incidents.reopen(id, alice), conflict)
  await t.rejects(incidents.merge(id, id, alice), conflict)
  const invalid = { code: 'PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT', statusCode: 400 }
  await t.rejects(incidents.comment(id, ' ', alice), invalid)
  await t.rejects(incidents.comment(id, 'a\0b', alice), invalid)
  await t.rejects(incidents.assign(id, '\ud800', alice), invalid)
  await t.rejects(incidents.link(id, { kind: 'url', id: 'javascript:alert(1)' }, alice), invalid)
  await t.rejects(incidents.report({ type: 'Ä' }), invalid)
  await t.rejects(incidents.report({ type: 'x', severity: 'urgent' as never }), invalid)
  await t.rejects(incidents.report({ type: 'x', at: Infinity }), invalid)
  await t.rejects(incidents.report({ type: 'x', principalId: 'a\0' }), invalid)
  const missing = { code: 'PARAPET_INCIDENT_RESPONSE_NOT_FOUND', statusCode: 404 }
  await t.rejects(incidents.acknowledge('0190d5a0-0000-7000-8000-000000000000', alice), missing)
  await t.rejects(incidents.acknowledge('no id', alice), missing)
  await t.rejects(incidents.run(id, 'none', alice), missing)
  await t.rejects(incidents.act(id, 'none', {}, alice), missing)
  t.same(await incidents.find(id), before)
  t.equal((await incidents.timeline(id)).length, 1)
}

async function escalation(t: Test, fleet: Fleet) {
  const { sent, notifiers } = told()
  const levels = [['team'], ['team', 'boss'], ['boss']]
  const app = await fleet.open({
    builtIn: [],
    notifiers,
    escalation: { critical: levels, high: levels },
  })
  const { id, openedAt, respondBy } = await app.incidents.report({
    type: 'a',
    severity: 'critical',
  })
  t.equal(respondBy, openedAt + 15 * MINUTE)
  const escalated = async () => (await app.incidents.find(id))!.escalations
  await fleet.until(() => sent.length === 1)
  await fleet.advance(respondBy - fleet.clock.now() - 1)
  await app.incidents.settle()
  t.equal(await escalated(), 0, 'not a moment too early')
  // Two looks at what is due; the clock stands still while it is carried out.
  for (let look = 0; look < 2 && (await escalated()) === 0; look++) {
    await fleet.advance(500)
    for (let count = 0; count < 300 && (await escalated()) === 0; count++) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  t.ok(fleet.clock.now() - respondBy <= 1000, `${fleet.clock.now() - respondBy} ms late`)
  await fleet.until(() => sent.length === 3)
  t.same(
    sent.slice(1).toSorted(),
    ['boss', 'team'].map((name) => `${name}: [CRITICAL] Not acknowledged in time: A`),
  )
  await app.incidents.acknowledge(id, alice)
  await fleet.advance(HOUR)
  await app.incidents.settle()
  await fleet.advance(HOUR)
  await app.incidents.settle()
  t.equal(await escalated(), 1, 'nobody is called after a person has taken over')
  const other = await app.incidents.report({ type: 'b', severity: 'high' })
  t.equal(other.respondBy - other.openedAt, HOUR)
  const raised = await app.incidents.setSeverity(other.id, 'critical', { ...alice, note: 'worse' })
  t.equal(raised.respondBy, fleet.clock.now() + 15 * MINUTE)
}

async function reopening(t: Test, fleet: Fleet) {
  const { incidents } = await fleet.open({ builtIn: [] })
  const first = await incidents.report({ type: 'x' })
  await incidents.close(first.id, 'false_positive', alice)
  const second = await incidents.report({ type: 'x' })
  t.not(second.id, first.id)
  await t.rejects(incidents.reopen(first.id, alice), {
    code: 'PARAPET_INCIDENT_RESPONSE_CONFLICT',
    message: new RegExp(second.id),
  })
  await incidents.close(second.id, 'duplicate', alice)
  t.match(await incidents.reopen(first.id, alice), {
    phase: 'containment',
    closedAt: null,
    resolution: null,
  })
  t.equal((await incidents.report({ type: 'x' })).id, first.id)
  t.same(
    (await incidents.list({ state: 'open' })).map(({ id }) => id),
    [first.id],
  )
  t.same(
    (await incidents.list({ state: 'closed' })).map(({ id }) => id),
    [second.id],
  )
  t.equal((await incidents.metrics()).falsePositives, 0)
}

async function merging(t: Test, fleet: Fleet) {
  const { incidents } = await fleet.open({ builtIn: [] })
  const source = await incidents.report({ type: 'a', severity: 'high', address: '192.0.2.1' })
  const target = await incidents.report({ type: 'b', severity: 'low', address: '192.0.2.2' })
  const merged = await incidents.merge(source.id, target.id, alice)
  t.match(merged, { id: target.id, findings: 2, severity: 'high', addresses: { length: 2 } })
  t.match(await incidents.find(source.id), {
    phase: 'closed',
    resolution: 'duplicate',
    mergedInto: target.id,
  })
  t.equal((await incidents.report({ type: 'a' })).id, target.id)
  t.equal((await incidents.report({ type: 'b' })).id, target.id)
  await t.rejects(incidents.reopen(source.id, alice), {
    code: 'PARAPET_INCIDENT_RESPONSE_CONFLICT',
  })
  t.match((await incidents.timeline(source.id)).at(-1), { kind: 'merged', by: 'alice' })
}

const RUN = `name: run
severity: high
triggers: [run]
variables: {tries: 0}
phases:
  detection:
    duration: 15m
    actions: [look]
  containment:
    actions:
      - block
      - {action: broken, retries: 1}
      - while: tries < 3
        do: [count, {wait: 10s}]
      - if: failed_actions > 0
        then: [{manual: Do it by hand, timeout: 30m}]
  recovery:
    actions: [{undo: containment}]
  lessons_learned:
    actions: [post_mortem]
`

async function playbookRuns(t: Test, fleet: Fleet) {
  const { sent, notifiers } = told()
  const done: string[] = []
  let tries = 0
  const note =
    (name: string) =>
    async ({ key }: { key: string }) => {
      done.push(`${name} ${key.split(':')[1]}`)
      return { summary: name, records: 2 }
    }
  const app = await fleet.open({
    builtIn: [],
    notifiers,
    playbooks: [{ file: 'run.yml', yaml: RUN }],
    actions: {
      look: note('look'),
      block: {
        run: async (call) => ({ ...(await note('block')(call)), undoWith: { id: 7 } }),
        undo: async ({ key }, kept) =>
          void done.push(`undo ${key.split(':').slice(1).join(':')} ${JSON.stringify(kept)}`),
      },
      count: async () => ({ variables: { tries: ++tries, unknown: 1 } }),
      broken: async () => {
        done.push('broken')
        throw Object.assign(new Error('no route'), { code: 'EHOSTUNREACH' })
      },
    },
  })
  const failed: unknown[] = []
  app.securityEvents.on(
    'incident_response.action_failed',
    ({ details }) => void failed.push(details),
  )
  const { id } = await app.incidents.report({ type: 'run', severity: 'high' })
  const stepOf = async (state: string) =>
    (await app.incidents.runs(id))[0]?.steps.find(
      (step) => step.state === state && step.kind === 'manual',
    )
  await fleet.until(async () => (await stepOf('waiting')) !== undefined)
  t.same(done, ['look detection.1', 'block containment.1', 'broken', 'broken'])
  t.equal(tries, 3)
  t.match(failed, [
    { action: 'broken', attempts: 2, reason: /EHOSTUNREACH: no route/, needsPerson: false },
  ])
  t.match(await app.incidents.find(id), {
    phase: 'containment',
    needsPerson: 1,
    records: 4,
    acknowledgedBy: null,
  })
  await fleet.until(() => sent.some((line) => line.includes('A person is needed')))
  await fleet.advance(30 * MINUTE)
  await fleet.until(() => sent.some((line) => line.includes('Overdue')))
  const [run] = await app.incidents.runs(id)
  const waiting = (await stepOf('waiting'))!
  const ended = await app.incidents.endStep(run!.id, waiting.id, 'done', {
    ...alice,
    note: 'by hand',
  })
  t.match(
    ended.steps.find((step) => step.id === waiting.id),
    { state: 'done', by: 'alice', summary: 'by hand' },
  )
  await t.rejects(app.incidents.endStep(run!.id, waiting.id, 'done', alice), {
    code: 'PARAPET_INCIDENT_RESPONSE_CONFLICT',
  })
  await fleet.until(async () => (await app.incidents.runs(id))[0]?.state === 'done')
  t.equal(done.at(-1), 'undo containment.1:undo {"id":7}')
  t.match(await app.incidents.find(id), { phase: 'lessons_learned', needsPerson: 0 })
  const report = await app.incidents.postMortem(id)
  t.same(
    report.undone.map(({ title }) => title),
    ['Block'],
  )
  t.ok(report.open.some(({ title, state }) => title === 'Broken' && state === 'failed'))
  const again = await app.incidents.run(id, 'run', alice)
  t.equal((await app.incidents.cancelRun(again.id, alice)).state, 'cancelled')
  await closing(app, id)
}

async function closing(app: FastifyInstance, id: string) {
  await app.incidents.close(id, 'resolved', alice)
  await app.incidents.settle()
}

async function responses(t: Test, fleet: Fleet) {
  const blocked: unknown[] = []
  const { incidents } = await fleet.open({
    builtIn: [],
    maxResponses: 3,
    actions: {
      BLOCK_IP: { run: async ({ with: given }) => void blocked.push(given), isRepeatable: true },
    },
  })
  const report = (address: string, attempts: number) =>
    incidents.report({ type: 'brute_force', address, attempts })
  await report('192.0.2.1', 10)
  t.match(
    (await incidents.simulate({ type: 'brute_force', address: '192.0.2.1', attempts: 11 }))!,
    {
      opens: false,
      responses: [
        {
          action: 'BLOCK_IP',
          target: 'address:192.0.2.1',
          with: { ttlMs: HOUR },
          isRegistered: true,
        },
        { action: 'ENABLE_CAPTCHA', isRegistered: false },
      ],
    },
  )
  t.equal((await incidents.list())[0]!.findings, 1, 'a simulation changes nothing')
  for (let count = 11; count < 20; count++) await report('192.0.2.1', count)
  await incidents.report({ type: 'injection', address: '192.0.2.9' })
  await fleet.until(() => blocked.length === 2)
  await fleet.advance(MINUTE)
  await incidents.settle()
  t.strictSame(
    blocked.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))),
    [
      { address: '192.0.2.1', ttlMs: HOUR },
      { address: '192.0.2.9', ttlMs: 24 * HOUR },
    ],
  )
  for (let host = 10; host < 30; host++) await report(`192.0.2.${host}`, 50)
  await fleet.advance(MINUTE)
  await fleet.until(() => blocked.length === 4)
  await fleet.advance(MINUTE)
  await incidents.settle()
  t.equal(blocked.length, 4, 'not more than "maxResponses" of one incident')
}

async function pruning(t: Test, fleet: Fleet) {
  const { incidents } = await fleet.open({ builtIn: [], retentionMs: HOUR })
  const closed: Incident = await incidents.report({ type: 'a' })
  const open = await incidents.report({ type: 'b' })
  await incidents.close(closed.id, 'false_positive', alice)
  await fleet.advance(HOUR)
  await fleet.until(async () => (await incidents.find(closed.id)) === null, MINUTE)
  t.not(await incidents.find(open.id), null)
}

const pglite = await createPgliteFleets(t)

for (const [name, open] of [
  ['memory', openMemoryFleet],
  ['PGlite', pglite],
  ['PostgreSQL', openPostgresFleet],
] as [string, OpenFleet][]) {
  await t.test(name, (t) => contract(t, open))
}
