/** What people change, who gets messages about it, and what people may write. */
import type { Finding, Link, Message } from '@parapet/incident-response'
import t, { type Test } from 'tap'
import { openMemoryFleet, openPostgresFleet, type OpenFleet } from './support/fleet.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const alice = { by: 'alice' }

interface Sent {
  readonly to: string
  readonly message: Message
}

async function openTold(t: Test, open: OpenFleet, options: object = {}) {
  const sent: Sent[] = []
  const to = (name: string) => ({
    send: async (message: Message) => void sent.push({ to: name, message }),
  })
  const fleet = await open(t)
  if (fleet === null) return null
  const app = await fleet.open({
    builtIn: [],
    notifiers: { team: to('team'), boss: to('boss'), legal: to('legal') },
    escalation: { low: [['team']], medium: [['team']], critical: [['boss']], high: [['team']] },
    ...options,
  })
  const lines = (id: string) =>
    sent
      .filter(({ message }) => message.incident.id === id)
      .map((each) => `${each.to} ${each.message.reason}`)
  return { fleet, app, sent, lines }
}

const LEGAL = {
  playbook: {
    name: 'breach',
    severity: 'critical',
    triggers: [{ type: 'breach', min_severity: 'critical' }],
    phases: { containment: { actions: [{ manual: 'Look' }] } },
    notifications: { within_1_hour: ['legal'] },
  },
}

for (const [name, open] of [
  ['memory', openMemoryFleet],
  ['PostgreSQL', openPostgresFleet],
] as const) {
  await t.test(
    `${name}: a person raises the severity: those who have to answer get a message`,
    async (t) => {
      const told = await openTold(t, open, { playbooks: [LEGAL] })
      if (told === null) return
      const { fleet, app, lines } = told
      const { id } = await app.incidents.report({ type: 'breach', severity: 'low' })
      await fleet.until(() => lines(id).length === 1)
      t.same(await app.incidents.runs(id), [])
      await app.incidents.setSeverity(id, 'critical', alice)
      await fleet.until(() => lines(id).includes('boss severity'))
      await fleet.until(async () => (await app.incidents.runs(id)).length === 1)
      t.match(await app.incidents.runs(id), [{ playbook: 'breach', by: 'trigger:breach' }])
    },
  )

  await t.test(`${name}: a merge ends one alert and takes its urgency along`, async (t) => {
    const told = await openTold(t, open)
    if (told === null) return
    const { fleet, app, lines } = told
    const { incidents } = app
    const source = await incidents.report({ type: 'a', severity: 'critical' })
    const target = await incidents.report({ type: 'b', severity: 'low' })
    await fleet.until(() => lines(source.id).length + lines(target.id).length === 2)
    const at = fleet.clock.now()
    const merged = await incidents.merge(source.id, target.id, alice)
    t.equal(merged.respondBy, at + 15 * MINUTE)
    await fleet.until(() => lines(source.id).includes('boss closed'))
    await fleet.until(() => lines(target.id).includes('boss severity'))
    await fleet.until(() => lines(target.id).includes('boss escalated'), 5 * MINUTE)
    t.ok(fleet.clock.now() - at < 25 * MINUTE)
  })
}

await t.test(
  'a message that a playbook promised is about the incident that its own was merged into',
  async (t) => {
    const { fleet, app, sent } = (await openTold(t, openMemoryFleet, { playbooks: [LEGAL] }))!
    const source = await app.incidents.report({ type: 'breach', severity: 'critical' })
    const target = await app.incidents.report({ type: 'b', severity: 'low' })
    const other = await app.incidents.report({ type: 'c', severity: 'low' })
    await fleet.until(async () => (await app.incidents.runs(source.id)).length === 1)
    await app.incidents.merge(source.id, target.id, alice)
    await app.incidents.merge(target.id, other.id, alice)
    await fleet.until(() => sent.some(({ to }) => to === 'legal'), 10 * MINUTE)
    t.match(sent.find(({ to }) => to === 'legal')!.message, {
      reason: 'playbook',
      incident: { id: other.id },
      text: /to be told within 1 hour by the playbook breach/,
    })
  },
)

await t.test('what was merged into a false alarm is not told', async (t) => {
  const { fleet, app, sent } = (await openTold(t, openMemoryFleet, { playbooks: [LEGAL] }))!
  const source = await app.incidents.report({ type: 'breach', severity: 'critical' })
  const target = await app.incidents.report({ type: 'b', severity: 'low' })
  await fleet.until(async () => (await app.incidents.runs(source.id)).length === 1)
  await app.incidents.merge(source.id, target.id, alice)
  await app.incidents.close(target.id, 'false_positive', alice)
  await fleet.until(() => sent.filter(({ message }) => message.reason === 'closed').length >= 2)
  const until = fleet.clock.now() + HOUR
  await fleet.until(() => fleet.clock.now() > until, 10 * MINUTE)
  t.notOk(sent.some(({ to }) => to === 'legal'))
})

await t.test('others get a message when an incident is opened again', async (t) => {
  const { fleet, app, lines } = (await openTold(t, openMemoryFleet))!
  const { id } = await app.incidents.report({ type: 'a', severity: 'low' })
  for (const round of [1, 2]) {
    await app.incidents.close(id, 'false_positive', alice)
    await app.incidents.reopen(id, alice)
    await fleet.until(() => lines(id).filter((line) => line === 'team reopened').length === round)
  }
  t.pass('each time')
})

await t.test(
  'quiet hours do not delay a message beyond the time that a playbook promised',
  async (t) => {
    const hours = { from: '00:00', to: '23:59' }
    const { fleet, app, sent } = (await openTold(t, openMemoryFleet, {
      playbooks: [{ playbook: { ...LEGAL.playbook, severity: 'high', triggers: ['breach'] } }],
      quietHours: { high: hours },
    }))!
    const at = fleet.clock.now()
    const { id } = await app.incidents.report({ type: 'breach', severity: 'high' })
    await fleet.until(() => sent.some(({ to }) => to === 'legal'), 10 * MINUTE)
    t.ok(fleet.clock.now() - at <= HOUR)
    t.equal((await app.incidents.find(id))!.severity, 'high')
  },
)

await t.test('a person whose id has a colon is a person, and no rule', async (t) => {
  const { app } = (await openTold(t, openMemoryFleet))!
  const { incidents } = app
  const { id } = await incidents.report({ type: 'a' })
  const moved = await incidents.transition(id, 'containment', { by: 'rule:block-guessers' })
  t.match(moved, { acknowledgedBy: 'rule_block-guessers' })
  t.match((await incidents.timeline(id)).at(-1), { by: 'rule_block-guessers' })
  t.match(await incidents.act(id, 'LOG_ONLY', {}, { by: 'auth0:jdoe' }), { by: 'auth0_jdoe' })
  for (const by of ['', 'a\0', 7, undefined]) {
    await t.rejects(incidents.act(id, 'LOG_ONLY', {}, { by: by as string }), {
      code: 'PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT',
    })
  }
})

const link = (kind: unknown, id: unknown) => ({ links: [{ kind, id } as Link] })

await t.test('a finding is refused if a report about it could not be shown', async (t) => {
  const { app } = (await openTold(t, openMemoryFleet))!
  for (const [given, problem] of [
    [{ at: 9e15 }, /"at" must be at most/],
    [link('url', 'javascript:alert(1)'), /must be an http or https URL/],
    [link('url', `https://a.example/${'x'.repeat(2000)}`), /at most 2000/],
    [link('page', 'x'), /must be one of anomaly, audit, event, url/],
    [link('audit', ''), /must be a non-empty text/],
    [{ links: [null as never] }, /must be one of anomaly, audit, event, url/],
  ] as [Partial<Finding>, RegExp][]) {
    await t.rejects(app.incidents.report({ type: 'a', ...given }), {
      code: 'PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT',
      message: problem,
    })
  }
  await t.rejects(app.incidents.report(null as never), { message: /"finding" must be an object/ })
  const url = `https://a.example/${'x'.repeat(1500)}`
  const last = { at: 8_640_000_000_000_000, ...link('url', url) }
  const { id } = await app.incidents.report({ type: 'a', ...last })
  t.match(await app.incidents.render(id, 'html'), new RegExp(url))
})

await t.test('a name does not look like another line of a message', async (t) => {
  const { fleet, app, sent } = (await openTold(t, openMemoryFleet))!
  const forged = 'x\nAcknowledged by alice.'
  await app.incidents.report({ type: 'a', title: forged, principalId: forged, address: forged })
  await fleet.until(() => sent.length > 0)
  t.notMatch(sent[0]!.message.text, /^Acknowledged by/m)
})

await t.test('a response whose name is taken stops the boot', async (t) => {
  const fleet = (await openMemoryFleet(t))!
  const rule = { name: 'again', type: '*', do: 'LOG_ONLY', per: 'incident' } as const
  await t.rejects(fleet.open({ responses: [rule, { ...rule, type: 'x' }] }, true), {
    message: /"responses\[1\].name" is "again" again; each rule needs its own name/,
  })
})
