/** A process that is killed between any two awaits, while a playbook runs; and two instances on one database. */
import type { FastifyInstance } from 'fastify'
import type { Action, IncidentResponseOptions } from '@parapet/incident-response'
import type { SqlClient } from '@parapet/kit'
import { runs } from '@parapet/testing'
import t, { type Test } from 'tap'
import { createEffects, type Effects } from './support/effects.ts'
import {
  createPgliteFleets,
  openPostgresFleet,
  type Fleet,
  type OpenFleet,
} from './support/fleet.ts'

const YAML = `name: crash
severity: high
triggers: [crash]
phases:
  detection:
    actions:
      - repeatable_1
      - once_1
  containment:
    actions:
      - parallel:
          - repeatable_2
          - both:
              - once_2
              - repeatable_3
      - if: severity = 'high'
        then:
          - once_3
  recovery:
    actions:
      - undo: containment
      - repeatable_4
`

class Killed extends Error {}

const end = () => new Promise<never>(() => {})

/** A process that ends at its nth call of the outside: neither that call's answer nor any later call happens. */
function createKiller(at: number) {
  let calls = 0
  let die: (() => void) | undefined
  const dying = new Promise<void>((resolve) => {
    die = resolve
  })
  let hasDied = false
  const isDead = () => hasDied
  const kill = (): void => {
    hasDied = true
    die?.()
  }
  /** Half of the kills are before the call, half are between the call and its answer. */
  const step = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isDead()) return end()
    const isLast = ++calls === at
    if (isLast && at % 2 === 0) {
      kill()
      return end()
    }
    const result = await work()
    if (isLast) kill()
    return isDead() ? end() : result
  }
  /** Rejects when the process dies: the connection is gone, so the transaction is rolled back. */
  const connected = <T>(work: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      work.then(resolve, reject)
      void dying.then(() => reject(new Killed()))
    })
  const wrap = (sql: SqlClient): SqlClient => ({
    query: (text, values) => step(() => sql.query(text, values)),
    async transaction(work, limits) {
      if (isDead()) return end()
      const outcome = await sql
        .transaction(
          (inner) =>
            connected(
              work({
                query: (text, values) => step(() => inner.query(text, values)),
                script: (text) => step(() => inner.script(text)),
              }),
            ),
          limits,
        )
        .catch((error: unknown) => (isDead() ? end() : Promise.reject(error as Error)))
      return step(async () => outcome)
    },
  })
  return {
    wrap,
    step,
    isDead,
    calls: () => calls,
    kill,
  }
}

type Killer = ReturnType<typeof createKiller>

function actionsOf(effects: Effects, killer?: Killer): Record<string, Action> {
  const guard = (action: Action): Action => ({
    ...action,
    run: (call) => (killer === undefined ? action.run(call) : killer.step(() => action.run(call))),
    ...(action.undo && {
      undo: (call, with_) =>
        killer === undefined
          ? action.undo!(call, with_)
          : killer.step(() => action.undo!(call, with_)),
    }),
  })
  const entries = [1, 2, 3, 4].flatMap((n) => [
    [`repeatable_${n}`, guard(effects.repeatable(`repeatable_${n}`))] as const,
    [`once_${n}`, guard(effects.once(`once_${n}`))] as const,
  ])
  return Object.fromEntries(entries)
}

const base: IncidentResponseOptions = {
  playbooks: [{ file: 'crash.yml', yaml: YAML }],
  builtIn: [],
}

/** Runs the playbook with a kill, then to its end with another instance. @returns the calls of the first. */
async function crashAt(t: Test, fleet: Fleet, at: number): Promise<number> {
  const effects = await createEffects(fleet.sql!)
  const killer = createKiller(at)
  const first = await fleet.openJobs(killer.wrap)
  const sql = killer.wrap(fleet.sql!)
  const options = {
    ...base,
    sql,
    migrate: false,
    jobs: first.jobs,
    actions: actionsOf(effects, killer),
  }
  const dying = fleet.open(options, true).then(
    (app) => app.incidents.report({ type: 'crash', severity: 'high' }),
    () => {},
  )
  dying.catch(() => {})
  await fleet.until(() => killer.isDead() || isSettled(fleet), 1000).catch(() => {})
  killer.kill()
  await first.abandon()
  const app = await fleet.open({ ...base, actions: actionsOf(effects) })
  // The client of a report that was not answered reports again.
  await app.incidents.report({ type: 'crash', severity: 'high' })
  await fleet.until(() => isAtRest(app), 5000)
  await verify(t, app, effects, at)
  await app.close()
  return killer.calls()
}

const isSettled = async ({ sql }: Fleet) => {
  const { rows } = await sql!.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM incident_response_runs WHERE document->>'state' = 'done'`,
  )
  return rows[0]!.count > 0
}

async function isAtRest(app: FastifyInstance): Promise<boolean> {
  const [incident] = await app.incidents.list()
  const runs = incident === undefined ? [] : await app.incidents.runs(incident.id)
  for (const { id, steps } of runs) {
    const stuck = steps.find((step) => step.state === 'needs_person')
    if (stuck === undefined) continue
    // A person has looked: what it was to do was done, or is done now by hand.
    await app.incidents.endStep(id, stuck.id, 'skipped', { by: 'alice' })
  }
  return runs.length === 1 && runs[0]!.state === 'done'
}

async function verify(t: Test, app: FastifyInstance, effects: Effects, at: number) {
  const incidents = await app.incidents.list()
  t.equal(incidents.length, 1, `one incident, killed at ${at}`)
  const [run] = await app.incidents.runs(incidents[0]!.id)
  const calls = await effects.calls()
  for (const { id, state, action, kind } of run!.steps) {
    if (kind !== 'action') continue
    const count = calls.get(`${run!.id}:${id}`) ?? 0
    // A step that a person had to end may have happened, but never twice.
    const isRight = state === 'skipped' ? count <= 1 : count === 1
    if (!isRight) t.fail(`${action} happened ${count} times, its step is ${state}, killed at ${at}`)
    const undone = calls.get(`${run!.id}:${id}:undo`) ?? 0
    if (state === 'undone' && undone !== 1) t.fail(`${action} was undone ${undone} times`)
  }
  t.equal(run!.steps.length, 8)
}

const points = runs(5, 200)
const pglite = await createPgliteFleets(t)

for (const [name, open] of [
  ['PGlite', pglite],
  ['PostgreSQL', openPostgresFleet],
] as [string, OpenFleet][]) {
  await t.test(
    `${points} crash points on ${name}: each action happens once, or a person is asked`,
    async (t) => {
      const whole = await open(t)
      if (whole === null) return
      // What it takes without a kill.
      await prepare(whole)
      const most = await crashAt(t, whole, Infinity)
      t.ok(most > 100, `${most} calls`)
      for (let point = 0; point < points; point++) {
        await clear(whole)
        // Spread over the whole run, and not the same ones in every test run.
        const at = 1 + Math.floor(((point + Math.random()) * most) / points)
        await crashAt(t, whole, at)
      }
    },
  )
}

async function prepare(fleet: Fleet): Promise<void> {
  const app = await fleet.open({ builtIn: [] })
  await app.close()
}

async function clear({ sql }: Fleet): Promise<void> {
  await sql!.query('DELETE FROM incident_response_incidents')
}

await t.test(
  'two instances on one PostgreSQL: each timer and each action fires once',
  async (t) => {
    const fleet = await openPostgresFleet(t)
    if (fleet === null) return
    const effects = await createEffects(fleet.sql!)
    const sent: string[] = []
    const notifiers = { team: { send: async ({ key }: { key: string }) => void sent.push(key) } }
    const options = { ...base, actions: actionsOf(effects), notifiers }
    const instances = [await fleet.open(options), await fleet.open(options)]
    const escalated: number[] = []
    for (const app of instances) {
      app.securityEvents.on(
        'incident_response.escalated',
        ({ details }) => void escalated.push(details.level),
      )
    }
    const finding = { type: 'crash', severity: 'high' } as const
    const reports = Array.from({ length: 200 }, (_, n) =>
      instances[n % 2]!.incidents.report(finding),
    )
    const found = await Promise.all(reports)
    t.equal(
      new Set(found.map(({ id }) => id)).size,
      1,
      '200 findings on two instances are one incident',
    )
    const { id } = found[0]!
    const [app] = instances
    t.equal((await app!.incidents.find(id))?.findings, 200)
    await fleet.until(async () => (await app!.incidents.runs(id))[0]?.state === 'done', 1000)
    // Until the last level: the clock moves on while a job runs.
    await fleet.until(() => escalated.length >= 5, 600_000)
    await fleet.advance(86_400_000)
    await Promise.all(instances.map((each) => each.incidents.settle()))
    const calls = await effects.calls()
    t.ok(calls.size >= 8)
    for (const [key, count] of calls) t.equal(count, 1, key)
    t.same(escalated, [1, 2, 3, 4, 5])
    t.equal(new Set(sent).size, sent.length, 'each message was sent once')
    const timeline = await app!.incidents.timeline(id)
    t.equal(timeline.filter(({ kind }) => kind === 'escalated').length, 5)
    t.equal(timeline.filter(({ kind }) => kind === 'run_started').length, 1)
  },
)
