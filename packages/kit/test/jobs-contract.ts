/** What every implementation of jobs must do. */
import type { Job, JobRecord, Jobs } from '@parapet/kit'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import { createManualClock } from '@parapet/kit'
import type { Fleet, OpenFleet } from './jobs-fleet.ts'

type Body = (t: Test, fleet: Fleet, jobs: Jobs) => Promise<void>

/** A promise and the function that resolves it. */
function createGate(): { readonly passed: Promise<void>; readonly open: () => void } {
  const waiting: (() => void)[] = []
  const passed = new Promise<void>((resolve) => void waiting.push(resolve))
  return { passed, open: () => waiting[0]!() }
}

export async function jobsContract(t: Test, open: OpenFleet): Promise<void> {
  const check = async (title: string, body: Body) => {
    await t.test(title, async (t) => {
      const fleet = await open(t)
      if (fleet !== null) await body(t, fleet, await fleet.open())
    })
  }
  await running(check)
  await failing(check)
  await hanging(check)
  await stopping(check)
  await recurring(check)
}

/** What every implementation on a database must do for several instances. */
export async function fleetContract(t: Test, open: OpenFleet): Promise<void> {
  await sharing(t, open)
  await t.test('concurrent calls with one key, from two instances, store one job', async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    const instances = [await fleet.open(), await fleet.open()]
    let ran = 0
    for (const jobs of instances) {
      jobs.define('mail', async () => void ran++)
      await jobs.start()
    }
    const calls = Array.from({ length: 12 }, (_, index) =>
      instances[index % 2]!.enqueue('mail', {}, { key: 'one' }),
    )
    const stored = await Promise.all(calls)
    t.equal(stored.filter(({ isNew }) => isNew).length, 1)
    t.equal(new Set(stored.map(({ id }) => id)).size, 1)
    await fleet.until(async () => (await instances[0]!.find('mail', 'one'))?.state === 'done')
    await fleet.advance(2000)
    t.equal(ran, 1)
    t.same(fleet.errors, [])
  })

  await t.test('two instances share the jobs, and each runs once', async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    const instances = [await fleet.open(), await fleet.open()]
    const ran: string[] = []
    let [active, most] = [0, 0]
    for (const jobs of instances) {
      jobs.define('work', async ({ key }) => {
        most = Math.max(most, ++active)
        ran.push(key)
        await new Promise((resolve) => setImmediate(resolve))
        active--
      })
    }
    const keys = Array.from({ length: 20 }, (_, index) => `k${index}`)
    for (const key of keys) await instances[0]!.enqueue('work', {}, { key })
    for (const jobs of instances) await jobs.start()
    await fleet.until(() => ran.length >= keys.length && active === 0)
    await fleet.advance(2000)
    t.same(ran.toSorted(), keys.toSorted())
    t.ok(most <= 2, 'each instance runs one at a time')
  })

  await t.test('a frozen instance loses its job, and is stopped when it wakes up', async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    const frozen = createManualClock(fleet.clock.now())
    const [first, second] = [await fleet.open(frozen), await fleet.open()]
    const attempts: Job[] = []
    const begun = createGate()
    first.define('long', async (job) => {
      attempts.push(job)
      begun.open()
      await new Promise((_, reject) =>
        job.signal.addEventListener('abort', () => reject(job.signal.reason)),
      )
    })
    second.define('long', async (job) => void attempts.push(job))
    await first.start()
    await first.enqueue('long', {}, { key: 'one' })
    await begun.passed
    await second.start()
    await fleet.advance(89_000)
    t.equal(attempts.length, 1, 'its lease has not ended')
    await fleet.advance(5000)
    await fleet.until(async () => {
      await fleet.advance(5000)
      return (await second.find('long', 'one'))?.state === 'done'
    })
    t.same(
      attempts.map(({ attempt, key }) => [attempt, key]),
      [
        [1, 'one'],
        [2, 'one'],
      ],
    )
    t.notOk(attempts[0]!.signal.aborted)
    frozen.advance(1000)
    await fleet.until(() => attempts[0]!.signal.aborted)
    t.match(attempts[0]!.signal.reason, { code: 'PARAPET_KIT_JOB_STOPPED' })
    t.match(await second.find('long', 'one'), { state: 'done', attempts: 2 })
  })

  for (const ending of ['resolves', 'rejects'] as const) {
    await t.test(`a hung attempt that ${ending} late ends no other attempt`, async (t) => {
      const fleet = await open(t)
      if (fleet === null) return
      const [first, second] = [
        await fleet.open(createManualClock(fleet.clock.now())),
        await fleet.open(),
      ]
      const [late, own] = [createGate(), createGate()]
      const begun: string[] = []
      const ended: string[] = []
      first.define('long', async () => {
        begun.push('first')
        await late.passed
        ended.push('first')
        if (ending === 'rejects') throw new Error('too late')
      })
      second.define('long', async () => {
        begun.push('second')
        await own.passed
      })
      await first.start()
      await first.enqueue('long', {}, { key: 'one' })
      await fleet.until(() => begun.length === 1)
      await second.start()
      await fleet.until(async () => {
        await fleet.advance(5000)
        return begun.length === 2
      })
      late.open()
      await fleet.until(() => ended.length === 1)
      // What the first instance records comes before the answer to a later question of it.
      for (let turn = 0; turn < 20; turn++) {
        t.match(await first.find('long', 'one'), { state: 'running', attempts: 2 })
      }
      own.open()
      await fleet.until(async () => (await second.find('long', 'one'))?.state === 'done')
      t.same(begun, ['first', 'second'])
    })
  }

  await t.test('two instances run each occurrence of a recurring job once', async (t) => {
    const fleet = await open(t)
    if (fleet === null) return
    const ran: string[] = []
    for (const jobs of [await fleet.open(), await fleet.open()]) {
      jobs.define('tick', async ({ key }) => void ran.push(key))
      await jobs.every('tick', 60_000)
      await jobs.start()
    }
    for (let minute = 0; minute < 4; minute++) {
      await fleet.advance(60_000)
      await fleet.until(async () => {
        await fleet.advance(1000)
        return ran.length >= minute + 1
      })
    }
    t.equal(new Set(ran).size, ran.length)
    t.equal(ran.length, 4)
  })
}

async function sharing(t: Test, open: OpenFleet): Promise<void> {
  const check = async (title: string, body: (t: Test, fleet: Fleet) => Promise<void>) => {
    await t.test(title, async (t) => {
      const fleet = await open(t)
      if (fleet !== null) await body(t, fleet)
    })
  }
  await check('the wrong clock of one instance delays no occurrence', async (t, fleet) => {
    const ahead = createManualClock(fleet.clock.now() + 86_400_000)
    const ran: string[] = []
    for (const jobs of [await fleet.open(), await fleet.open(ahead)]) {
      jobs.define('tick', async ({ key }) => void ran.push(key))
      await jobs.every('tick', 60_000)
      await jobs.start()
    }
    for (let minute = 1; minute <= 3; minute++) {
      await fleet.advance(59_000)
      await fleet.until(async () => {
        await fleet.advance(1000)
        ahead.advance(1000)
        return ran.length >= minute
      })
    }
    const first = (Math.floor(1_700_000_000_000 / 60_000) + 1) * 60_000
    const times = [0, 1, 2].map((minute) => new Date(first + minute * 60_000).toISOString())
    t.same(
      ran,
      times.map((time) => `every:${time}`),
    )
  })

  await check('close returns what it has taken and not begun, unused', async (t, fleet) => {
    const [first, second] = [await fleet.open(), await fleet.open()]
    const ran: string[] = []
    for (const [jobs, who] of [
      [first, 'first'],
      [second, 'second'],
    ] as const) {
      jobs.define('pay', async ({ attempt }) => void ran.push(`${who} ${attempt}`), { retries: 0 })
    }
    await first.start()
    await first.enqueue('pay', {}, { key: 'k' })
    await first.close()
    t.same(ran, [])
    t.match(await second.find('pay', 'k'), { state: 'waiting', attempts: 0 })
    await second.start()
    await fleet.until(async () => (await second.find('pay', 'k'))?.state === 'done')
    t.same(ran, ['second 1'])
    t.same(fleet.errors, [])
  })

  await check('a job whose taking was not answered uses no attempt', async (t, fleet) => {
    const jobs = await fleet.open()
    const attempts: number[] = []
    jobs.define('pay', async ({ attempt }) => void attempts.push(attempt), { retries: 0 })
    await jobs.start()
    let lost = 0
    fleet.faults.afterQuery = async (text) => {
      if (!text.startsWith('WITH due') || lost++ > 0) return
      throw new Error('the connection is lost')
    }
    await jobs.enqueue('pay', {}, { key: 'k' })
    await fleet.until(async () => {
      await fleet.advance(1000)
      return (await jobs.find('pay', 'k'))?.state === 'done'
    })
    t.same(attempts, [1])
    t.match(fleet.errors, [{ message: 'the connection is lost' }])
  })

  await check('a late answer of the database counts as running', async (t, fleet) => {
    const jobs = await fleet.open()
    let [active, most, ended] = [0, 0, 0]
    jobs.define('one', async () => {
      most = Math.max(most, ++active)
      await new Promise((resolve) => setImmediate(resolve))
      active--
      ended++
    })
    await jobs.start()
    await fleet.advance(1)
    const gate = createGate()
    let held = 0
    fleet.faults.afterQuery = async (text) => {
      if (!text.startsWith('WITH due')) return
      held++
      await gate.passed
    }
    for (let index = 0; index < 4; index++) await jobs.enqueue('one', {}, { key: `k${index}` })
    await fleet.until(() => held > 0)
    for (let second = 0; second < 8; second++) await fleet.advance(1000)
    t.equal(held, 1, 'its place is used, also after the deadline')
    gate.open()
    await fleet.until(async () => {
      await fleet.advance(1000)
      return ended === 4
    })
    t.equal(most, 1)
  })

  await check('occurrences are seen and handled by every instance', async (t, fleet) => {
    const [worker, admin] = [await fleet.open(), await fleet.open()]
    worker.define('tick', fails, { retries: 0 })
    await worker.every('tick', 1000)
    await worker.start()
    await fleet.until(async () => {
      await fleet.advance(1000)
      return (await admin.dead('tick')).length >= 2
    })
    await worker.close()
    for (const { id } of await admin.dead('tick')) t.equal(await admin.revive('tick', id), true)
    t.same(await admin.dead('tick'), [])
    const [next] = (
      await fleet.sql!.query(
        `SELECT data->>'key' AS key FROM ${fleet.schema}.job WHERE state = 'created'`,
      )
    ).rows as { key: string }[]
    t.match(await admin.find('tick', next!.key), { state: 'waiting' })
    t.equal(await admin.cancel('tick', next!.key), true)
  })

  await check('what a restored backup lacks is stored again', async (t, fleet) => {
    const jobs = await fleet.open()
    const ran: string[] = []
    jobs.define('mail', async ({ key }) => void ran.push(key))
    jobs.define('tick', async ({ key }) => void ran.push(key))
    await jobs.every('tick', 60_000)
    await jobs.start()
    await jobs.enqueue('mail', {}, { key: 'a' })
    await fleet.until(async () => (await jobs.find('mail', 'a'))?.state === 'done')
    await fleet.sql!.query(`DELETE FROM ${fleet.schema}.job`)
    await fleet.sql!.query(`SELECT ${fleet.schema}.delete_queue('mail')`)
    t.match(await jobs.enqueue('mail', {}, { key: 'b' }), { isNew: true })
    await fleet.until(async () => {
      await fleet.advance(1000)
      return ran.length === 3
    })
    const first = (Math.floor(1_700_000_000_000 / 60_000) + 1) * 60_000
    t.same(ran, ['a', 'b', `every:${new Date(first).toISOString()}`])
  })
}

const fails = async (): Promise<never> => Promise.reject(new Error('no'))
const doNothing = async (): Promise<void> => {}

type Check = (title: string, body: Body) => Promise<void>

async function running(check: Check): Promise<void> {
  await check('a job runs once, with its payload and its key', async (t, fleet, jobs) => {
    const ran: Job[] = []
    jobs.define<{ to: string }>('mail', async (job) => void ran.push(job))
    const stored = await jobs.enqueue('mail', { to: 'ñ 日本' }, { key: 'welcome:1' })
    t.match(stored, { isNew: true, key: 'welcome:1' })
    await fleet.advance(5000)
    t.same(ran, [], 'nothing runs before the start')
    await jobs.start()
    await fleet.until(async () => (await jobs.find('mail', 'welcome:1'))?.state === 'done')
    await fleet.advance(5000)
    t.equal(ran.length, 1)
    t.match(ran[0], { id: stored.id, name: 'mail', key: 'welcome:1', attempt: 1 })
    t.same(ran[0]!.data, { to: 'ñ 日本' })
    const again = await jobs.enqueue('mail', { to: 'other' }, { key: 'welcome:1' })
    t.same(again, { ...stored, isNew: false })
    await fleet.advance(5000)
    t.equal(ran.length, 1)
    t.match(await jobs.find('mail', 'welcome:1'), { state: 'done', data: { to: 'ñ 日本' } })
    t.equal(await jobs.find('mail', 'welcome:2'), null)
  })

  await check(
    'a job without a key is a new one each time, found by its id',
    async (t, fleet, jobs) => {
      const ran: string[] = []
      jobs.define('mail', async ({ id, key }) => {
        t.equal(id, key)
        ran.push(id)
      })
      await jobs.start()
      const stored = [await jobs.enqueue('mail', {}), await jobs.enqueue('mail', {})]
      await fleet.until(() => ran.length === 2)
      t.same(ran.toSorted(), stored.map(({ id }) => id).toSorted())
      await fleet.until(async () => (await jobs.find('mail', stored[0]!.key))?.state === 'done')
    },
  )

  await check('a job does not run before its time', async (t, fleet, jobs) => {
    let ranAt = 0
    jobs.define('later', async ({ dueAt }) => {
      ranAt = fleet.clock.now()
      t.equal(dueAt, at)
    })
    const at = fleet.clock.now() + 10_000
    await jobs.start()
    await jobs.enqueue('later', {}, { at, key: 'x' })
    await fleet.advance(9000)
    await fleet.advance(999)
    t.equal(ranAt, 0)
    t.match(await jobs.find('later', 'x'), { state: 'waiting', attempts: 0 })
    await fleet.advance(1001)
    await fleet.until(() => ranAt > 0)
    t.ok(ranAt >= at)
  })

  await check(
    'an instance runs as many jobs at the same time as its option says',
    async (t, fleet, jobs) => {
      const gate = createGate()
      let [active, most] = [0, 0]
      jobs.define(
        'wide',
        async () => {
          most = Math.max(most, ++active)
          await gate.passed
          active--
        },
        { concurrency: 3 },
      )
      for (let index = 0; index < 7; index++) await jobs.enqueue('wide', { index })
      await jobs.start()
      await fleet.until(() => active === 3)
      await fleet.advance(3000)
      t.equal(most, 3)
      gate.open()
      await fleet.until(() => active === 0)
    },
  )

  await check(
    'the options of the worker hold for jobs stored before it',
    async (t, fleet, jobs) => {
      await jobs.enqueue('charge', {}, { key: 'k' })
      await jobs.enqueue('report', {}, { key: 'k' })
      const attempts: number[] = []
      const charge = async ({ attempt }: Job) => {
        attempts.push(attempt)
        throw new Error('no')
      }
      jobs.define('charge', charge, { retries: 0 })
      const gate = createGate()
      let begun = 0
      const report = async ({ signal }: Job) => {
        begun++
        await gate.passed
        signal.throwIfAborted()
      }
      jobs.define('report', report, { timeoutMs: 600_000 })
      await jobs.start()
      await fleet.until(async () => (await jobs.find('charge', 'k'))?.state === 'dead')
      await fleet.until(() => begun === 1)
      for (let second = 0; second < 300; second += 15) await fleet.advance(15_000)
      gate.open()
      await fleet.until(async () => (await jobs.find('report', 'k'))?.state === 'done')
      t.same(attempts, [1])
      t.equal(begun, 1)
    },
  )

  await check('a name that only another instance runs can be enqueued', async (t, _fleet, jobs) => {
    t.match(await jobs.enqueue('elsewhere', {}, { key: 'k' }), { isNew: true })
    t.match(await jobs.find('elsewhere', 'k'), { state: 'waiting' })
    t.equal(await jobs.cancel('elsewhere', 'k'), true)
  })

  await check(
    'malformed names, keys, payloads and options are refused',
    async (t, _fleet, jobs) => {
      const code = 'PARAPET_KIT_INVALID_ARGUMENT'
      jobs.define('known', doNothing)
      t.throws(() => jobs.define('known', doNothing), { code, message: /defined already/ })
      t.throws(() => jobs.define('Upper', doNothing), { code })
      t.throws(() => jobs.define('no', 5 as never), { code })
      for (const options of [
        { retries: 21 },
        { timeoutMs: 999 },
        { concurrency: 0 },
        { tries: 1 },
      ]) {
        t.throws(() => jobs.define('other', doNothing, options), { code })
      }
      t.throws(() => jobs.define('other', doNothing, { backoffMs: 1500 }), {
        message: /whole seconds/,
      })
      await t.rejects(jobs.enqueue('a b', {}), { code })
      const circle: Record<string, unknown> = {}
      circle['circle'] = circle
      for (const data of [
        null,
        [],
        'x',
        { text: 'x'.repeat(66_000) },
        { a: '\0' },
        { a: '\ud800' },
        new Date(0),
        { a: 1n },
        circle,
      ]) {
        await t.rejects(jobs.enqueue('known', data as never), { code }, inspect(data).slice(0, 30))
      }
      for (const key of ['', 'x'.repeat(257), 'a\0b', '\udc00', 5]) {
        await t.rejects(jobs.enqueue('known', {}, { key: key as never }), { code })
      }
      for (const at of [NaN, -1, Infinity, Date.UTC(10_000, 0), 8.64e15, '5', 5n]) {
        await t.rejects(jobs.enqueue('known', {}, { at: at as never }), { code }, String(at))
      }
      const latest = Date.UTC(10_000, 0) - 1
      t.match(await jobs.enqueue('known', {}, { at: latest, key: 'latest' }), { isNew: true })
      t.match(await jobs.find('known', 'latest'), { dueAt: latest })
      await t.rejects(jobs.every('unknown', 1000), { code, message: /must be defined/ })
      await t.rejects(jobs.every('known', 999), { code })
      await t.rejects(jobs.every('known', '* * *'), { code })
      t.equal(await jobs.revive('known', 'no id'), false)
      t.match(await jobs.enqueue('known', { text: 'the text \\u0000' }), { isNew: true })
    },
  )
}

async function failing(check: Check): Promise<void> {
  await check(
    'a job that fails is tried again, ever later, then is dead',
    async (t, fleet, jobs) => {
      const times: number[] = []
      const seen: Pick<Job, 'id' | 'key' | 'attempt' | 'dueAt'>[] = []
      let mends = false
      const handler = async ({ id, key, attempt, dueAt }: Job) => {
        times.push(fleet.clock.now())
        seen.push({ id, key, attempt, dueAt })
        if (!mends) throw Object.assign(new Error(`no ${attempt}`), { code: 'E_NO' })
      }
      jobs.define('bad', handler, { retries: 3, backoffMs: 4000 })
      await jobs.start()
      const { id } = await jobs.enqueue('bad', { a: 1 }, { key: 'k' })
      const dead = async () => (await jobs.find('bad', 'k'))?.state === 'dead'
      await fleet.until(async () => {
        await fleet.advance(500)
        return dead()
      })
      t.equal(seen.length, 4)
      t.same(
        seen.map(({ attempt }) => attempt),
        [1, 2, 3, 4],
      )
      t.equal(new Set(seen.map((each) => `${each.id} ${each.key} ${each.dueAt}`)).size, 1)
      const waits = times.slice(1).map((time, index) => time - times[index]!)
      for (const [index, wait] of waits.entries()) {
        const least = 4000 * 2 ** index
        t.ok(wait >= least && wait <= 2 * least + 2500, `${wait} ms after ${index + 1} failures`)
      }
      t.equal(fleet.errors.length, 4)
      const [record] = await jobs.dead('bad')
      const expected = { id, name: 'bad', key: 'k', state: 'dead', attempts: 4 } as const
      t.match(record, {
        ...expected,
        error: 'E_NO: no 4',
        data: { a: 1 },
      } satisfies Partial<JobRecord>)
      t.match(await jobs.enqueue('bad', {}, { key: 'k' }), { isNew: false }, 'its key stays used')

      mends = true
      t.equal(await jobs.revive('bad', id), true)
      await fleet.until(async () => {
        await fleet.advance(500)
        return (await jobs.find('bad', 'k'))?.state === 'done'
      })
      t.equal(seen.at(-1)!.attempt, 5)
      t.same(await jobs.dead('bad'), [])
      t.equal(await jobs.revive('bad', id), false)
    },
  )

  await check(
    'an attempt that takes too long is stopped and tried again',
    async (t, fleet, jobs) => {
      const reasons: unknown[] = []
      let begun = 0
      const handler = async ({ signal }: Job) => {
        begun++
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason)),
        )
      }
      jobs.define(
        'slow',
        (job) =>
          handler(job).catch((error) => {
            reasons.push(error)
            throw error
          }),
        { retries: 1, timeoutMs: 5000 },
      )
      await jobs.start()
      await jobs.enqueue('slow', {}, { key: 'k' })
      await fleet.until(() => begun === 1)
      await fleet.advance(4999)
      t.same(reasons, [])
      await fleet.until(async () => {
        await fleet.advance(1000)
        return (await jobs.find('slow', 'k'))?.state === 'dead'
      })
      t.equal(begun, 2)
      t.match(reasons, [{ code: 'PARAPET_KIT_JOB_STOPPED', message: /5000 ms have passed/ }, Error])
      t.match(await jobs.find('slow', 'k'), { error: /^PARAPET_KIT_JOB_STOPPED/ })
    },
  )

  await check(
    'a job whose handler ignores its signal never runs twice here',
    async (t, fleet, jobs) => {
      const gate = createGate()
      let [active, most, ran] = [0, 0, 0]
      const handler = async () => {
        most = Math.max(most, ++active)
        await gate.passed
        active--
        ran++
      }
      jobs.define('deaf', handler, { timeoutMs: 1000, concurrency: 5, retries: 20 })
      await jobs.start()
      await jobs.enqueue('deaf', {}, { key: 'k' })
      await fleet.until(() => active === 1)
      for (let step = 0; step < 6; step++) await fleet.advance(16_000)
      t.equal(most, 1)
      gate.open()
      await fleet.until(async () => {
        await fleet.advance(30_000)
        return (await jobs.find('deaf', 'k'))?.state === 'done'
      })
      t.equal(most, 1)
      t.ok(ran <= 2)
    },
  )
}

async function hanging(check: Check): Promise<void> {
  await check(
    'a handler that never ends is reported, and blocks no others',
    async (t, fleet, jobs) => {
      const ran: string[] = []
      jobs.define('mail', async ({ key }) => {
        ran.push(key)
        if (key === 'hung') await new Promise(() => {})
      })
      await jobs.start()
      await jobs.enqueue('mail', {}, { key: 'hung' })
      await fleet.until(() => ran.length === 1)
      await jobs.enqueue('mail', {}, { key: 'next' })
      for (let second = 0; second < 89; second++) await fleet.advance(1000)
      t.same(ran, ['hung'])
      t.same(fleet.errors, [])
      await fleet.until(async () => {
        await fleet.advance(1000)
        return (await jobs.find('mail', 'next'))?.state === 'done'
      })
      t.same(ran, ['hung', 'next'])
      t.match(fleet.errors, [{ code: 'PARAPET_KIT_JOB_STOPPED', message: /has not ended/ }])
    },
  )
}

async function stopping(check: Check): Promise<void> {
  await check('a job is cancelled by the key that enqueue returned', async (t, fleet, jobs) => {
    let ran = 0
    jobs.define('mail', async () => void ran++)
    await jobs.start()
    const { key } = await jobs.enqueue('mail', {}, { at: fleet.clock.now() + 5000 })
    t.equal(await jobs.cancel('mail', key), true)
    t.match(await jobs.find('mail', key), { state: 'cancelled' })
    await fleet.advance(10_000)
    t.equal(ran, 0)
  })

  await check('a handler can enqueue while close waits for it', async (t, fleet, jobs) => {
    const [begun, gate] = [createGate(), createGate()]
    let stored: unknown
    jobs.define('first', async () => {
      begun.open()
      await gate.passed
      stored = await jobs.enqueue('second', {}, { key: 'k' })
    })
    await Promise.all([jobs.start(), jobs.start()])
    await jobs.enqueue('first', {})
    await begun.passed
    const ended: string[] = []
    const closing = [1, 2].map(async (index) => {
      await jobs.close()
      ended.push(`${index}`)
    })
    await fleet.advance(100)
    t.same(ended, [], 'the second call waits as well')
    await t.rejects(jobs.start(), { code: 'PARAPET_KIT_JOBS_CLOSED' })
    gate.open()
    await Promise.all(closing)
    t.match(stored, { isNew: true })
    t.same(fleet.errors, [])
  })

  await check('a job that waits is cancelled, and never runs', async (t, fleet, jobs) => {
    let ran = 0
    jobs.define('mail', async () => void ran++)
    await jobs.start()
    await jobs.enqueue('mail', {}, { key: 'k', at: fleet.clock.now() + 5000 })
    t.equal(await jobs.cancel('mail', 'k'), true)
    t.equal(await jobs.cancel('mail', 'k'), false)
    t.equal(await jobs.cancel('mail', 'other'), false)
    await fleet.advance(10_000)
    t.equal(ran, 0)
    t.match(await jobs.find('mail', 'k'), { state: 'cancelled' })
    t.match(await jobs.enqueue('mail', {}, { key: 'k' }), { isNew: false })
  })

  await check(
    'a job that runs is stopped by cancel, and is not tried again',
    async (t, fleet, jobs) => {
      let begun = 0
      let reason: unknown
      jobs.define('long', async ({ signal }) => {
        begun++
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason)),
        ).catch((error) => {
          reason = error
          throw error
        })
      })
      await jobs.start()
      await jobs.enqueue('long', {}, { key: 'k' })
      await fleet.until(() => begun === 1)
      t.equal(await jobs.cancel('long', 'k'), true)
      await fleet.until(() => reason !== undefined)
      t.match(reason, { code: 'PARAPET_KIT_JOB_STOPPED' })
      await fleet.advance(60_000)
      t.equal(begun, 1)
      t.match(await jobs.find('long', 'k'), { state: 'cancelled' })
    },
  )

  await check('close waits for the jobs that run, and takes no more', async (t, fleet, jobs) => {
    const [begun, gate] = [createGate(), createGate()]
    const ran: unknown[] = []
    jobs.define('work', async ({ data }) => {
      begun.open()
      if (data['n'] === 1) await gate.passed
      ran.push(data['n'])
    })
    await jobs.start()
    await jobs.enqueue('work', { n: 1 })
    await begun.passed
    await jobs.enqueue('work', { n: 2 })
    let closed = false
    const closing = jobs.close().then(() => {
      closed = true
    })
    await fleet.advance(100)
    t.notOk(closed)
    gate.open()
    await closing
    t.same(ran, [1])
    const code = 'PARAPET_KIT_JOBS_CLOSED'
    await t.rejects(jobs.start(), { code, statusCode: 503 })
    await t.rejects(jobs.enqueue('work', {}), { code })
    await jobs.close()
  })

  await check('close stops what does not end in time', async (t, fleet, jobs) => {
    let reason: unknown
    let begun = 0
    jobs.define('long', async ({ signal }) => {
      begun++
      await new Promise<void>((resolve) =>
        signal.addEventListener('abort', () => {
          reason = signal.reason
          resolve()
        }),
      )
    })
    jobs.define('deaf', () => {
      begun++
      return new Promise(() => {})
    })
    await jobs.start()
    await jobs.enqueue('long', {})
    await jobs.enqueue('deaf', {})
    await fleet.until(() => begun === 2)
    const closing = jobs.close({ drainMs: 3000 })
    await fleet.advance(2900)
    t.equal(reason, undefined)
    await fleet.until(async () => {
      await fleet.advance(100)
      return reason !== undefined
    })
    t.match(reason, { code: 'PARAPET_KIT_JOB_STOPPED', message: /it closes/ })
    await fleet.until(async () => {
      await fleet.advance(1000)
      return fleet.errors.length > 0
    })
    await closing
    t.match(fleet.errors, [{ code: 'PARAPET_KIT_JOBS_TIMEOUT' }])
  })
}

async function recurring(check: Check): Promise<void> {
  await check('an occurrence stored by a wrong clock is corrected', async (t, fleet, jobs) => {
    let ran = 0
    jobs.define('tick', async () => void ran++)
    await jobs.every('tick', 60_000)
    await jobs.start()
    const run = (count: number) =>
      fleet.until(async () => {
        await fleet.advance(5000)
        return ran >= count
      })
    await run(1)
    await fleet.shift(365 * 86_400_000)
    await run(2)
    await fleet.advance(1000)
    await fleet.shift(0)
    const before = ran
    const since = fleet.clock.now()
    await run(before + 3)
    t.ok(fleet.clock.now() - since < 300_000, 'three in less than five minutes')
  })

  await check('an occurrence keeps its retries while others come', async (t, fleet, jobs) => {
    const attempts = new Map<string, number>()
    const handler = async ({ key, attempt }: Job) => {
      attempts.set(key, attempt)
      throw new Error('no')
    }
    jobs.define('tick', handler, { retries: 2, backoffMs: 15_000 })
    await jobs.every('tick', 10_000)
    await jobs.start()
    await fleet.until(async () => {
      await fleet.advance(1000)
      return (await jobs.dead('tick')).length >= 2
    })
    for (const { id, key, attempts: used } of await jobs.dead('tick')) {
      t.equal(used, 3)
      t.equal(attempts.get(key), 3)
      t.equal(await jobs.revive('tick', id), true)
    }
  })

  await check('two schedules of a name run one at a time', async (t, fleet, jobs) => {
    let [active, most] = [0, 0]
    const dueAt: number[] = []
    jobs.define('tick', async (job) => {
      most = Math.max(most, ++active)
      dueAt.push(job.dueAt % 60_000)
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
      active--
    })
    await jobs.every('tick', '* * * * *')
    await jobs.every('tick', 20_000)
    await jobs.start()
    await fleet.until(async () => {
      await fleet.advance(1000)
      return dueAt.length === 6
    })
    t.equal(most, 1)
    t.same(dueAt, [40_000, 0, 20_000, 40_000, 0, 20_000], 'a time of both runs once')
  })

  await check('a recurring job runs at each time; missed ones run once', async (t, fleet, jobs) => {
    const ran: number[] = []
    jobs.define('hourly', async ({ key, dueAt }) => {
      t.equal(key, `every:${new Date(dueAt).toISOString()}`)
      ran.push(dueAt)
    })
    await jobs.every('hourly', 60_000)
    await jobs.every('hourly', 60_000)
    await jobs.start()
    const first = (Math.floor(fleet.clock.now() / 60_000) + 1) * 60_000
    const runs = (count: number) =>
      fleet.until(async () => {
        if (ran.length < count) await fleet.advance(1000)
        return ran.length >= count
      })
    await fleet.advance(first - fleet.clock.now())
    await runs(1)
    await fleet.advance(60_000)
    await runs(2)
    t.same(ran, [first, first + 60_000])
    await fleet.advance(600_000)
    await runs(4)
    await fleet.advance(1000)
    t.equal(ran[2], first + 120_000, 'the first of ten missed ones runs late')
    t.ok(ran[3]! > first + 660_000, 'and the others are not made up')
  })

  await check(
    'cron is read in UTC, and an occurrence waits for the former one',
    async (t, fleet, jobs) => {
      const gate = createGate()
      const ran: string[] = []
      let [active, most] = [0, 0]
      jobs.define(
        'nightly',
        async ({ dueAt }) => {
          most = Math.max(most, ++active)
          ran.push(new Date(dueAt).toISOString())
          if (ran.length === 1) await gate.passed
          active--
        },
        { timeoutMs: 3_600_000 },
      )
      // 2023-11-14T22:13:20Z is the first reading of the clock.
      await jobs.every('nightly', '*/20 3 * * *')
      await jobs.start()
      await fleet.advance(Date.UTC(2023, 10, 15, 3) - fleet.clock.now() + 1)
      await fleet.until(async () => {
        await fleet.advance(1000)
        return ran.length > 0
      })
      t.same(ran, ['2023-11-15T03:00:00.000Z'])
      for (let minute = 0; minute < 30; minute++) await fleet.advance(60_000)
      t.equal(ran.length, 1, 'the former one still runs')
      gate.open()
      await fleet.until(async () => {
        await fleet.advance(1000)
        return ran.length === 2
      })
      t.equal(ran[1], '2023-11-15T03:20:00.000Z')
      t.equal(most, 1)
    },
  )
}
