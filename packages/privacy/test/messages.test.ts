/** Each message that follows a change of a request is sent, wherever the process ends, and whatever the jobs lose. */
import { createManualClock, createMemoryJobs, type Jobs, type ManualClock } from '@parapet/kit'
import {
  createMemoryLedger,
  createMemoryRecords,
  type PrivacyOptions,
  type Records,
  type RequestType,
  type SubjectMessage,
} from '@parapet/privacy'
import { closeJobs, runs } from '@parapet/testing'
import t, { type Test } from 'tap'
import { createMemoryParts } from '../src/export/archive-parts.ts'
import { createApp, DAY, MINUTE, post, runTick, waitFor, type TestApp } from './helpers.ts'

const NOW = Date.UTC(2026, 0, 31, 12)
const never = () => new Promise<never>(() => undefined)

/** A process that ends at its nth call of a port: before the call, or between the call and its answer. */
function createKiller() {
  const state = { calls: 0, at: Infinity, isAfter: false, isDead: false }
  const step = async <T>(work: () => Promise<T>): Promise<T> => {
    if (state.isDead) return never()
    const isLast = ++state.calls === state.at
    if (isLast && !state.isAfter) {
      state.isDead = true
      return never()
    }
    const result = await work()
    if (isLast) state.isDead = true
    return state.isDead ? never() : result
  }
  const wrap = <Port extends object>(port: Port, methods: readonly (keyof Port)[]): Port =>
    new Proxy(port, {
      get(_target, name) {
        const value: unknown = Reflect.get(port, name)
        if (typeof value !== 'function') return value
        const call = (...args: unknown[]): unknown => Reflect.apply(value, port, args)
        const isCounted = (methods as readonly PropertyKey[]).includes(name)
        return isCounted ? (...args: unknown[]) => step(async () => call(...args)) : call
      },
    })
  const arm = (at: number, isAfter: boolean) =>
    Object.assign(state, { calls: 0, at, isAfter, isDead: false })
  return { state, step, wrap, arm }
}

type Killer = ReturnType<typeof createKiller>

/** What outlives a process. */
interface World {
  readonly records: Records
  readonly options: Partial<PrivacyOptions>
  readonly sent: SubjectMessage[]
}

function createWorld(): World {
  const records = createMemoryRecords()
  const options = { ledger: createMemoryLedger(), archives: createMemoryParts() }
  return { records, options, sent: [] }
}

interface Process extends TestApp {
  readonly stop: () => Promise<void>
}

async function start(
  t: Test,
  { records, options, sent }: World,
  settings: Partial<PrivacyOptions>,
  time: number,
  killer?: Killer,
): Promise<Process> {
  const clock: ManualClock = createManualClock(time)
  const own = createMemoryJobs({
    clock,
    pollMs: 1000,
    onNotice: () => undefined,
    onError: () => {},
  })
  const jobs: Jobs = killer === undefined ? own : killer.wrap(own, ['enqueue', 'find'])
  const deliver = async (message: SubjectMessage) => void sent.push(message)
  const app = await createApp(t, {
    clock,
    jobs,
    records:
      killer?.wrap(records, ['insert', 'find', 'save', 'list', 'missing', 'remove']) ?? records,
    deliver: (message) =>
      killer === undefined ? deliver(message) : killer.step(() => deliver(message)),
    ...options,
    ...settings,
  })
  const stop = async () => {
    await closeJobs(own, clock)
    await app.app.close()
  }
  return { ...app, clock, jobs: own, stop }
}

interface Scenario {
  readonly kind: SubjectMessage['kind']
  readonly type: RequestType
  readonly settings?: Partial<PrivacyOptions>
  readonly prepare?: (app: Process) => Promise<unknown>
  /** What an officer does; without it, a job runs the request. */
  readonly officer?: (id: string) => { url: string; payload: object }
}

const reason = 'because'
const officerUrl = (id: string, action: string) => `/privacy/admin/requests/${id}/${action}`
const scenarios: Record<string, Scenario> = {
  'an archive is ready': {
    kind: 'ready',
    type: 'access',
    settings: { verify: { access: 'token' } },
  },
  'a restriction is completed': {
    kind: 'completed',
    type: 'restriction',
    settings: { approve: [] },
  },
  'an erasure is announced': { kind: 'running', type: 'erasure' },
  'an erasure is completed': { kind: 'completed', type: 'erasure' },
  'an erasure is held': {
    kind: 'held',
    type: 'erasure',
    prepare: ({ app }) => app.privacy.holds.place({ subject: 'ann', reason, basis: 'b' }),
  },
  'a request is rejected': {
    kind: 'rejected',
    type: 'restriction',
    officer: (id) => ({ url: officerUrl(id, 'reject'), payload: { reason } }),
  },
  'a deadline is extended': {
    kind: 'extended',
    type: 'restriction',
    officer: (id) => ({ url: officerUrl(id, 'extend'), payload: { months: 1, reason } }),
  },
}

/** @returns whether the process was killed. */
async function killAt(t: Test, scenario: Scenario, at: number, isAfter: boolean): Promise<boolean> {
  const { kind, type, settings = {}, prepare, officer } = scenario
  const world = createWorld()
  const [killer, name] = [createKiller(), `killed ${isAfter ? 'after' : 'before'} call ${at}`]
  const first = await start(t, world, settings, NOW, killer)
  await prepare?.(first)
  const { id } = await first.app.privacy.request({ subject: 'ann', type })
  killer.arm(at, isAfter)
  const act = async ({ send, jobs }: Process): Promise<unknown> => {
    if (officer === undefined) return jobs.enqueue('privacy.run', { id })
    const { url, payload } = officer(id)
    return send('officer', post(url, payload))
  }
  const sent = () => world.sent.filter((message) => message.kind === kind)
  // Past the process that may be dead.
  const isForgotten = async () => {
    const record = await world.records.find<{ text: string }>('request', id)
    return (JSON.parse(record!.body.text) as { outbox?: unknown }).outbox === undefined
  }
  void act(first).catch(() => undefined)
  if (officer === undefined) await first.jobs.start()
  else void first.jobs.start()
  await waitFor(async () => killer.state.isDead || (sent().length > 0 && (await isForgotten())))
  const isKilled = killer.state.isDead
  killer.state.isDead = true
  await first.stop()

  // Another process, which has none of the jobs of the first one; its leases have ended.
  const second = await start(t, world, settings, NOW + 60 * MINUTE)
  await second.jobs.start()
  if (officer !== undefined) await act(second)
  await runTick(second)
  for (let round = 0; round < 4 && sent().length === 0; round++) {
    second.clock.advance(60 * MINUTE)
    await runTick(second)
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  await waitFor(isForgotten)
  const ids = sent().map((message) => message.id)
  if (ids.length === 0) t.fail(`the message "${kind}" was lost, ${name}`)
  // Killed between the call of the port and its answer, it is sent again under the same id.
  if (ids.length > 2 || new Set(ids).size > 1) t.fail(`sent ${ids.length} times, ${name}`)
  await second.stop()
  return isKilled
}

for (const [name, scenario] of Object.entries(scenarios)) {
  await t.test(`${name}: the message survives a kill between any two calls`, async (t) => {
    const stride = runs(6, 1)
    let points = 0
    for (const isAfter of [false, true]) {
      let at = 1 + Math.floor(Math.random() * stride)
      while (await killAt(t, scenario, at, isAfter)) {
        at += stride
        points += 1
      }
    }
    t.ok(points > 0, `${points} points`)
  })
}

await t.test(
  'a message that nobody can send is given up after its attempts, and said so',
  async (t) => {
    let attempts = 0
    const app = await createApp(t, {
      approve: [],
      deliver: async ({ kind }) => {
        if (kind !== 'completed') return
        attempts += 1
        throw new Error('away')
      },
    })
    const { id } = await app.app.privacy.request({ subject: 'ann', type: 'restriction' })
    await app.until(id, 'completed')
    const isOver = async () => (await app.app.privacy.findRequest(id))!.outbox === undefined
    for (let round = 0; round < 60 && !(await isOver()); round++) {
      app.clock.advance(DAY / 10)
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
      await runTick(app)
    }
    t.ok(await isOver())
    t.equal(attempts, 14)
    t.match(
      app.events.filter(({ type }) => type === 'privacy.undelivered'),
      [{ details: { request: id, type: 'restriction' } }],
    )
  },
)

await t.test(
  'an erasure forgets the messages of other requests, which name the subject',
  async (t) => {
    const records = createMemoryRecords()
    let isAway = true
    const app = await createApp(t, {
      records,
      approve: [],
      deliver: async ({ kind }) => {
        if (isAway && kind === 'completed') throw new Error('away')
      },
    })
    const { id: other } = await app.app.privacy.request({ subject: 'ann', type: 'restriction' })
    await app.until(other, 'completed')
    t.ok((await app.app.privacy.findRequest(other))!.outbox)
    const { id } = await app.app.privacy.request({ subject: 'ann', type: 'erasure' })
    await app.until(id, 'completed')
    t.equal((await app.app.privacy.findRequest(other))!.outbox, undefined)
    isAway = false
  },
)
