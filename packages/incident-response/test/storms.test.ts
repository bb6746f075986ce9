/** An attack on many accounts at once: what is sent, and that nothing is lost. */
import { incidentResponse, type Message } from '@parapet/incident-response'
import { createManualClock } from '@parapet/kit'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import {
  createPgliteFleets,
  openMemoryFleet,
  openPostgresFleet,
  type OpenFleet,
} from './support/fleet.ts'

const pglite = await createPgliteFleets(t)
const fleets: [string, OpenFleet][] = [
  ['memory', openMemoryFleet],
  ['PGlite', pglite],
  ['PostgreSQL', openPostgresFleet],
]
const MINUTE = 60_000
const hang = () => new Promise<boolean>(() => {})
const nextTurn = () => new Promise<undefined>((resolve) => setImmediate(resolve, undefined))

function createTeam(clock: { now(): number }) {
  const sent: { readonly minute: number; readonly message: Message }[] = []
  let failures = 0
  const team = {
    async send(message: Message) {
      if (failures-- > 0) throw new Error('away')
      sent.push({ minute: Math.floor(clock.now() / MINUTE), message })
    },
  }
  const failNext = (count: number) => void (failures = count)
  return { sent, failNext, notifiers: { team } }
}

for (const [name, open] of fleets) {
  await t.test(
    `${name}: a storm is a few messages a minute, and names every incident`,
    async (t) => {
      const fleet = await open(t)
      if (fleet === null) return
      const { sent, notifiers } = createTeam(fleet.clock)
      const options = { builtIn: [], notifiers, messagesPerMinute: 3 } as const
      const apps = [await fleet.open(options)]
      if (name === 'PostgreSQL') apps.push(await fleet.open(options))
      const reports = Array.from({ length: 40 }, (_, n) => {
        const finding = { type: 'account_takeover', principalId: `u-${n}`, fingerprint: `at:${n}` }
        return apps[n % apps.length]!.incidents.report(finding)
      })
      const ids = (await Promise.all(reports)).map(({ id }) => id)
      // Another kind does not wait.
      const { incidents } = apps[0]!
      const other = await incidents.report({ type: 'data_breach', severity: 'critical' })
      const noticesOf = async (id: string) =>
        (await incidents.timeline(id)).filter(({ kind }) => kind === 'notified').length
      await fleet.until(async () => (await noticesOf(other.id)) > 0)
      const isNotified = async () => {
        for (const id of ids) if ((await noticesOf(id)) === 0) return false
        return true
      }
      await fleet.until(isNotified, 5000)
      for (const id of ids) t.equal(await noticesOf(id), 1, 'the timeline says it once')
      const storm = sent.filter(({ message }) => message.incident.type === 'account_takeover')
      const perMinute = new Map<number, number>()
      for (const { minute } of storm) perMinute.set(minute, (perMinute.get(minute) ?? 0) + 1)
      t.ok(Math.max(...perMinute.values()) <= 3, JSON.stringify([...perMinute]))
      t.ok(storm.length <= 9, `${storm.length} messages about 40 incidents`)
      const text = storm.map(({ message }) => `${message.incident.id} ${message.text}`).join('\n')
      t.match(text, /With it come \d+ other messages of this kind/)
      t.equal(sent.filter(({ message }) => message.incident.id === other.id).length, 1)
      t.same(await incidents.deadLetters(), [])
    },
  )

  await t.test(`${name}: what is folded is sent again if its message fails`, async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    const { sent, failNext, notifiers } = createTeam(fleet.clock)
    const { incidents } = await fleet.open({ builtIn: [], notifiers, messagesPerMinute: 1 })
    const ids: string[] = []
    for (let n = 0; n < 6; n++) {
      const { id } = await incidents.report({ type: 'x', fingerprint: `x:${n}` })
      ids.push(id)
    }
    await fleet.until(() => sent.length === 1)
    failNext(2)
    const isNotified = async () => {
      for (const id of ids) {
        const timeline = await incidents.timeline(id)
        if (timeline.filter(({ kind }) => kind === 'notified').length !== 1) return false
      }
      return true
    }
    await fleet.until(isNotified, 5000)
    t.ok(sent.length < 6, `${sent.length} messages`)
  })
}

await t.test('in memory, harmless incidents give way to a severe one', async (t) => {
  const { incidents } = await (await openMemoryFleet(t))!.open({ builtIn: [], maxIncidents: 3 })
  const report = (n: number, severity: 'low' | 'critical') =>
    incidents.report({ type: 'x', fingerprint: `x:${n}`, severity })
  for (let n = 0; n < 3; n++) await report(n, 'low')
  await t.rejects(report(3, 'low'), { code: 'PARAPET_INCIDENT_RESPONSE_FULL' })
  const severe = await report(4, 'critical')
  t.match(await incidents.find(severe.id), { severity: 'critical' })
  t.equal((await incidents.list()).length, 3)
  await report(0, 'critical')
})

await t.test('a guard that never answers is given up', async (t) => {
  const clock = createManualClock()
  const app = Fastify()
  t.after(() => app.close())
  await app.register(incidentResponse, { builtIn: [], clock, deadlineMs: 5000 })
  await app.register(app.incidents.routes, { prefix: '/incidents', guard: hang })
  await app.ready()
  t.match(await answerOf(t, app.inject('/incidents'), () => clock.advance(5000)), {
    statusCode: 503,
    body: /PARAPET_INCIDENT_RESPONSE_TIMEOUT/,
  })
})

/** Moves the clock until there is an answer. */
async function answerOf<T>(t: Test, answer: Promise<T>, advance: () => void): Promise<T> {
  for (let count = 0; count < 1000; count++) {
    advance()
    const result = await Promise.race([answer, nextTurn()])
    if (result !== undefined) return result
  }
  t.fail('there is no answer')
  return answer
}
