/** Several instances: each console shows the events and the counts of all. */
import { createMemoryStore, useSecurityEvents, type Store } from '@parapet/kit'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { createEventStream } from '../../src/console/event-stream.ts'
import { createMinuteCounters } from '../../src/console/minute-counters.ts'
import { createRecentEvents, type FeedEvent } from '../../src/console/recent-events.ts'
import { consoleRecorder } from '../../src/console/recorder.ts'
import { securityEventLog } from '../../src/logging/security-events.ts'

const CHANNEL = 'reference-server:console'

/** A clock whose tasks run when the test says so. */
function createSteps() {
  let tasks: (() => void)[] = []
  let now = Date.UTC(2026, 0, 1)
  const schedule = (_delayMs: number, task: () => void) => {
    tasks.push(task)
    return () => void (tasks = tasks.filter((each) => each !== task))
  }
  const step = (ms = 1000): void => {
    now += ms
    const due = tasks
    tasks = []
    for (const task of due) task()
  }
  return { clock: { now: () => now, schedule }, step, waiting: () => tasks.length }
}

async function createInstance(t: Test, store: Store) {
  const app = Fastify()
  const steps = createSteps()
  app.decorate('store', store)
  await app.register(securityEventLog)
  await app.register(consoleRecorder, { isFleet: true, clock: steps.clock })
  const declaration = { severity: 'high', outcome: 'failure', description: 'A test.' } as const
  useSecurityEvents(app, { 'kit.store_lost': declaration })
  app.get('/', async () => 'fine')
  await app.ready()
  t.after(() => app.close())
  return { app, ...steps }
}

const nextEvent = (events: ReturnType<typeof createRecentEvents>) =>
  new Promise<FeedEvent>((resolve) => {
    const stop = events.listen((event) => {
      stop()
      resolve(event)
    })
  })

await t.test('an instance shows what another one has seen', async (t) => {
  const store = createMemoryStore()
  const [a, b] = [await createInstance(t, store), await createInstance(t, store)]
  await a.app.inject('/')
  await a.app.inject('/nowhere')
  const arrives = nextEvent(b.app.consoleRecords.events)
  a.app.securityEvents.emit('kit.store_lost', { details: { reason: 'test' } })
  a.step()
  t.match(await arrives, { type: 'kit.store_lost', details: { reason: 'test' } })
  const { answered, refused, alarms } = b.app.consoleRecords.counters.current()
  t.same([answered, refused, alarms], [1, 1, 1])
  t.ok(b.app.consoleRecords.counters.current().p95! > 0)
  t.same(a.app.consoleRecords.counters.current().answered, 1, 'nothing is counted twice')
})

await t.test('messages that no instance has written change nothing', async (t) => {
  const store = createMemoryStore()
  const { app } = await createInstance(t, store)
  const minute = { time: Date.now(), answered: 1, refused: 0, failed: 0, anomalies: 0, alarms: 0 }
  const forged = [
    'x',
    'null',
    '{}',
    JSON.stringify({ instance: 'x', minute: { ...minute, latency: [-1] }, events: [] }),
    JSON.stringify({ instance: 'x', minute: { ...minute, latency: [] }, events: [{ id: 1 }] }),
    JSON.stringify({ instance: 'x'.repeat(99), minute: { ...minute, latency: [] }, events: [] }),
    `"${'x'.repeat(300_000)}"`,
  ]
  for (const text of forged) await store.publish(CHANNEL, text)
  t.equal(app.consoleRecords.counters.current().answered, 0)
  t.same(app.consoleRecords.events.list({}, 10), [])
})

await t.test('a flood of instances is bounded', async (t) => {
  let now = 1_700_000_040_000
  const counters = createMinuteCounters(() => now, 3)
  const shared = { ...counters.share(), answered: 1 }
  for (let at = 0; at < 500; at++) counters.receive(`i${at}`, shared)
  t.equal(counters.current().answered, 64)
  counters.receive('late', { ...shared, time: now - 600_000 })
  counters.receive('early', { ...shared, time: now + 600_000 })
  now += 60_000
  t.equal(counters.current().answered, 0)
})

await t.test('a stream in a flood shows the serious events, and counts the others', async (t) => {
  const { clock, step, waiting } = createSteps()
  const events = createRecentEvents(1000)
  const counters = createMinuteCounters(clock.now, 3)
  const records = { events, counters, since: clock.now() }
  const until = clock.now() + 60_000
  const stream = createEventStream({ records, filter: {}, clock, until })
  const base = { time: clock.now(), type: 'rbac.denied', outcome: 'failure', details: {} }
  for (let at = 0; at < 500; at++) events.add({ ...base, id: `low${at}`, severity: 'low' })
  events.add({ ...base, id: 'serious', severity: 'critical' })
  step(250)
  const text = String(stream.read())
  t.match(text, '"serious"')
  t.match(text, '"skipped":440')
  t.equal(text.match(/"low\d+"/g)!.length, 60)
  step(60_000)
  t.match(String(stream.read()), 'event: end')
  stream.resume()
  await new Promise((resolve) => stream.once('close', resolve))
  t.equal(waiting(), 0, 'no timer is left')
})
