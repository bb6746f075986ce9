/** A message is sent once, also where two jobs look at its task, and again where its process ended. */
import type { Jobs } from '@parapet/kit'
import t from 'tap'
import {
  createPgliteFleets,
  openMemoryFleet,
  openPostgresFleet,
  type Fleet,
  type OpenFleet,
} from './support/fleet.ts'

const pglite = await createPgliteFleets(t)
const fleets: [string, OpenFleet][] = [
  ['memory', openMemoryFleet],
  ['PGlite', pglite],
  ['PostgreSQL', openPostgresFleet],
]
const MINUTE = 60_000
const finding = { type: 'crash', severity: 'high', fingerprint: 'f' } as const

function createGate() {
  let open!: () => void
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { open, opened }
}

/** Waits by turns of the event loop and short pauses: the database answers in its own time. */
async function waitFor(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let count = 0; count < 5000; count++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  throw new Error(`it did not happen: ${condition.toString()}`)
}

/** Jobs that store the first message only when the gate opens. */
function delayFirst(jobs: Jobs, gate: Promise<void>) {
  let isFirst = true
  const state = { isStored: false }
  const delayed: Jobs = Object.assign(Object.create(jobs) as Jobs, {
    isDurable: jobs.isDurable,
    async enqueue(...[name, data, options]: Parameters<Jobs['enqueue']>) {
      if (name !== 'incident-response.notify' || !isFirst) return jobs.enqueue(name, data, options)
      isFirst = false
      await gate
      const stored = await jobs.enqueue(name, data, options)
      state.isStored = true
      return stored
    },
  })
  for (const method of ['define', 'every', 'find', 'start', 'close'] as const) {
    Object.assign(delayed, { [method]: jobs[method].bind(jobs) })
  }
  return { delayed, state }
}

/** A service whose first message waits at a gate while it is sent. */
async function openSlow(fleet: Fleet) {
  const [stored, delivered] = [createGate(), createGate()]
  const { jobs, abandon } = await fleet.openJobs()
  const { delayed, state } = delayFirst(jobs, stored.opened)
  const sent: string[] = []
  const team = {
    async send({ key }: { key: string }) {
      sent.push(key)
      await delivered.opened
    },
  }
  const app = await fleet.open(
    { builtIn: [], jobs: delayed, notifiers: { team }, deadlineMs: 120_000 },
    true,
  )
  return { app, jobs, sent, stored, delivered, state, abandon }
}

for (const [name, open] of fleets) {
  await t.test(`${name}: a task whose job is stored late is sent once`, async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    const { app, jobs, sent, stored, delivered, state } = await openSlow(fleet)
    t.after(() => app.close())
    const reported = app.incidents.report(finding)
    await waitFor(async () => (await app.incidents.list()).length === 1)
    // The sweep gives the task to the jobs again, because it finds no job of it.
    for (const ms of [MINUTE, MINUTE]) await fleet.advance(ms)
    await waitFor(async () => {
      await fleet.advance(100)
      return sent.length > 0
    })
    stored.open()
    const { id } = await reported
    t.ok(state.isStored)
    // The late job has begun and ended while the message is under way.
    const [task] = sent
    await waitFor(async () => {
      const late = await jobs.find('incident-response.notify', `${task}#0.0`)
      return late?.state === 'done' || sent.length > 1
    })
    t.same(sent, [task])
    delivered.open()
    await waitFor(async () => {
      const timeline = await app.incidents.timeline(id)
      return timeline.some(({ kind }) => kind === 'notified')
    })
    await app.incidents.settle()
    t.same(sent, [task], 'no other job has sent it')
  })
}

await t.test('a message that a process did not finish is sent by another one', async (t) => {
  const fleet = await openPostgresFleet(t)
  if (fleet === null) return
  const first = await openSlow(fleet)
  first.stored.open()
  await first.app.incidents.report(finding)
  await waitFor(() => first.sent.length > 0)
  await first.abandon()
  const again: string[] = []
  const team = { send: async ({ key }: { key: string }) => void again.push(key) }
  await fleet.open({ builtIn: [], notifiers: { team } })
  await fleet.until(() => again.length > 0, 5000)
  t.same(again.slice(0, 1), first.sent, 'under the same key')
  first.delivered.open()
  await first.app.close()
})
