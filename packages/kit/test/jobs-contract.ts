/** What every implementation of jobs must do. */
import type { Job, JobRecord, Jobs } from '@parapet/kit'
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
  await stopping(check)
  await recurring(check)
}

/** What every implementation on a database must do for several instances. */
export async function fleetContract(t: Test, open: OpenFleet): Promise<void> {
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
      for (const data of [
        null,
        [],
        'x',
        { text: 'x'.repeat(66_000) },
        { a: '\0' },
        { a: '\ud800' },
      ]) {
        await t.rejects(
          jobs.enqueue('known', data as never),
          { code },
          JSON.stringify(data)?.slice(0, 30),
        )
      }
      for (const key of ['', 'x'.repeat(257), 'a\0b', '\udc00', 5]) {
        await t.rejects(jobs.enqueue('known', {}, { key: key as never }), { code })
      }
      await t.rejects(jobs.enqueue('known', {}, { at: NaN }), { code })
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

async function stopping(check: Check): Promise<void> {
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
    const gate = createGate()
    const ran: unknown[] = []
    jobs.define('work', async ({ data }) => {
      if (data['n'] === 1) await gate.passed
      ran.push(data['n'])
    })
    await jobs.start()
    await jobs.enqueue('work', { n: 1 })
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
    jobs.define('long', async ({ signal }) => {
      await new Promise<void>((resolve) =>
        signal.addEventListener('abort', () => {
          reason = signal.reason
          resolve()
        }),
      )
    })
    jobs.define('deaf', () => new Promise(() => {}))
    await jobs.start()
    await jobs.enqueue('long', {})
    await jobs.enqueue('deaf', {})
    await fleet.advance(100)
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
